"""The rules of reading English: patterns of written text, and what one says instead.

They run in the order of the files below and in each from top to bottom: from the most specific
(addresses, dates, telephone numbers) to the least (bare numbers, symbols).
"""

from data.rules import amounts, symbols, times, writing

RULES = (*writing.RULES, *times.RULES, *amounts.RULES, *symbols.RULES)
