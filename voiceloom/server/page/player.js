// Plays samples as they come and counts, in samples, what was heard and what was missing.
class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.at = 0; // in the first block of the queue
    this.heard = 0;
    this.dry = 0; // samples of silence between first sound and end that nobody asked for
    this.ended = false;
    this.port.onmessage = ({ data }) => {
      if (data === "clear") Object.assign(this, { queue: [], at: 0, heard: 0, dry: 0, ended: false });
      else if (data === "end") this.ended = true;
      else this.queue.push(data);
    };
  }

  process(_, [[out]]) {
    let filled = 0;
    while (filled < out.length && this.queue.length) {
      const block = this.queue[0];
      const take = Math.min(out.length - filled, block.length - this.at);
      out.set(block.subarray(this.at, this.at + take), filled);
      filled += take;
      this.at += take;
      if (this.at === block.length) {
        this.queue.shift();
        this.at = 0;
      }
    }
    this.heard += filled;
    if (filled < out.length && this.heard && !this.ended) this.dry += out.length - filled;
    this.port.postMessage([this.heard, this.dry]);
    return true;
  }
}

registerProcessor("player", Player);
