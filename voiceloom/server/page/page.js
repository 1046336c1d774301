// The page: one socket, one player, and drawings of what they know.
const $ = (id) => document.getElementById(id);
const RATE = 24000;
const FRAME_S = 0.08;

let socket, context, player, utterance = null, queue = [], typing = null;

function fresh(text) {
  return { text, asked: performance.now(), first: null, chunks: [], words: [], codes: [], phones: [],
    made: 0, heard: 0, dry: 0, gaps: [], done: false, finished: null };
}

async function sound() {
  if (context) return context.resume();
  context = new AudioContext({ sampleRate: RATE });
  await context.audioWorklet.addModule("/page/player.js");
  player = new AudioWorkletNode(context, "player", { outputChannelCount: [1] });
  player.connect(context.destination);
  player.port.onmessage = ({ data: [heard, dry] }) => {
    if (!utterance || utterance.finished !== null) return;
    utterance.heard = heard / RATE;
    if (dry / RATE > utterance.dry) utterance.gaps.push([(performance.now() - utterance.asked) / 1000, utterance.heard]);
    utterance.dry = dry / RATE;
  };
}

function connect() {
  return new Promise((resolve, reject) => {
    if (socket && socket.readyState === WebSocket.OPEN) return resolve();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/v1/audio/stream${location.search}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { say("ready"); resolve(); };
    socket.onerror = reject;
    socket.onclose = () => { say("not connected"); settle(); };
    socket.onmessage = ({ data }) => (typeof data === "string" ? told(JSON.parse(data)) : hear(data));
  });
}

const say = (what) => { $("status").textContent = what; };
const send = (type, fields = {}) => socket.send(JSON.stringify({ type, ...fields }));

function told(message) {
  const u = utterance;
  if (message.type === "started") say("speaking");
  if (message.type === "error") { say(message.message); settle(); }
  if (!u) return;
  if (message.type === "chunk") {
    u.first ??= performance.now();
    u.made = message.start_s + message.duration_s;
    u.chunks.push({ at: (performance.now() - u.asked) / 1000, end: u.made });
    u.words.push(...message.words);
    u.phones.push(...message.phones);
    u.codes.push(...message.codes);
    costs(u, message.report);
  } else if (message.type === "interrupted") {
    $("spoken").hidden = false;
    $("spoken").textContent = `Said: “${message.text_spoken.trim()}” · not said: “${message.text_remaining.trim()}”`;
  } else if (message.type === "done") {
    u.done = true;
    player.port.postMessage("end");
    costs(u, message.report);
    if (!queue.length) say("ready");
  }
}

function hear(buffer) {
  const pcm = new Int16Array(buffer);
  player.port.postMessage(Float32Array.from(pcm, (x) => x / 32767));
}

function settings(voice) {
  const ahead = $("lookahead").value;
  return { voice, lookahead: ahead === "" ? null : Number(ahead), speed: Number($("speed").value),
    pitch: Number($("pitch").value), pitch_range: Number($("range").value) };
}

async function speak(text, { slowly = false, voice = $("voice").value } = {}) {
  await sound();
  await connect();
  stop();
  player.port.postMessage("clear");
  utterance = fresh(text);
  $("spoken").hidden = true;
  $("interrupt").disabled = false;
  send("start", settings(voice));
  if (!slowly) {
    send("text", { text });
    send("end");
    return;
  }
  const words = text.match(/\S+\s*/g) ?? [];
  let i = 0;
  typing = setInterval(() => { // a language model writes about so fast
    if (i < words.length) send("text", { text: words[i++] });
    else { clearInterval(typing); typing = null; send("end"); }
  }, 120);
}

function stop() {
  clearInterval(typing);
  typing = null;
  if (utterance && !utterance.done) send("cancel");
}

function settle() {
  clearInterval(typing);
  typing = null;
  $("interrupt").disabled = true;
}

function interrupt() {
  queue = [];
  clearInterval(typing);
  typing = null;
  send("interrupt", { playback_offset: utterance.heard });
  player.port.postMessage("clear");
  utterance.finished = utterance.heard;
  settle();
}

async function compare() {
  queue = [...$("voice").options].map((option) => option.value).slice(0, 6);
  while (queue.length) {
    const voice = queue.shift();
    $("voice").value = voice;
    await speak($("text").value.split(/(?<=[.!?])\s/)[0], { voice });
    const mine = utterance;
    while (utterance === mine && !(mine.done && mine.heard >= mine.made - 0.05) && mine.finished === null) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function clone(blob, name) {
  const form = new FormData();
  form.append("name", name.replace(/\W+/g, "_").replace(/^_+/, "") || "clone");
  form.append("file", blob);
  $("note").textContent = "listening to the recording";
  const key = new URLSearchParams(location.search).get("api_key");
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch("/v1/audio/voices", { method: "POST", body: form, headers });
  const made = await answer.json();
  if (!answer.ok) { $("note").textContent = made.error.message; return; }
  await voices(made.id);
  const like = made.likeness;
  $("note").textContent = `${made.id}: like the recording to ${like.spoken.toFixed(2)}, nearest other voice ` +
    `${like.nearest} ${like.nearest_likeness.toFixed(2)}. ${like.doubt} ${made.note}`;
}

async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream), parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = async () => {
    stream.getTracks().forEach((track) => track.stop());
    const audio = new AudioContext({ sampleRate: RATE });
    const decoded = await audio.decodeAudioData(await new Blob(parts).arrayBuffer());
    clone(wav(decoded.getChannelData(0)), `me_${Date.now() % 100000}`);
  };
  recorder.start();
  $("note").textContent = "recording: speak for six seconds";
  setTimeout(() => recorder.stop(), 6000);
}

function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, s) => [...s].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, RATE, 4], [28, 2 * RATE, 4], [32, 2, 2], [34, 16, 2]]
    .forEach(([at, value, bytes]) => (bytes === 4 ? view.setUint32(at, value, true) : view.setUint16(at, value, true)));
  text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, x)) * 32767, true));
  return new Blob([view.buffer], { type: "audio/wav" });
}

async function voices(chosen) {
  const key = new URLSearchParams(location.search).get("api_key");
  const answer = await fetch("/v1/audio/voices", { headers: key ? { authorization: `Bearer ${key}` } : {} });
  const listed = await answer.json();
  $("voice").replaceChildren(...listed.data.map(({ id, own }) => new Option(own ? `${id} (yours)` : id, id)));
  if (chosen) $("voice").value = chosen;
}

// ---- drawings ----

function words(u) {
  const heard = u.heard, spans = new Map();
  for (const word of u.words) { // a word may come in two chunks
    const known = spans.get(word.span[0]);
    spans.set(word.span[0], known ? { ...known, end_s: word.end_s } : word);
  }
  const nodes = [];
  let at = 0;
  for (const word of [...spans.values()].sort((a, b) => a.span[0] - b.span[0])) {
    nodes.push(document.createTextNode(u.text.slice(at, word.span[0])));
    const node = document.createElement("span");
    node.textContent = u.text.slice(...word.span);
    node.className = heard >= word.end_s ? "heard" : heard >= word.start_s ? "now" : "made";
    nodes.push(node);
    at = word.span[1];
  }
  nodes.push(document.createTextNode(u.text.slice(at)));
  $("words").replaceChildren(...nodes);
}

function lead(u) {
  const canvas = $("lead"), pen = canvas.getContext("2d"), { width, height } = canvas;
  const now = (performance.now() - u.asked) / 1000;
  const top = Math.max(2, u.made * 1.1), span = Math.max(2, now * 1.05);
  const x = (s) => (s / span) * width, y = (s) => height - 8 - (s / top) * (height - 16);
  pen.clearRect(0, 0, width, height);
  if (!u.chunks.length) return;
  pen.font = "12px system-ui";
  pen.fillStyle = "#6b655d";
  pen.strokeStyle = "#eee9e2";
  for (let s = 1; s < span; s += Math.ceil(span / 12)) pen.fillText(`${s} s`, x(s), height - 2);
  for (let s = 1; s < top; s += Math.ceil(top / 5)) {
    pen.beginPath(); pen.moveTo(0, y(s)); pen.lineTo(width, y(s)); pen.stroke();
    pen.fillText(`${s} s`, 2, y(s) - 2);
  }
  pen.fillStyle = "#c8442d";
  for (const [t, s] of u.gaps) pen.fillRect(x(t), y(s) - 4, Math.max(2, x(0.02)), 8);
  pen.strokeStyle = pen.fillStyle = "#1c1b1a";
  pen.beginPath();
  pen.moveTo(x(0), y(0));
  let last = 0;
  for (const chunk of u.chunks) {
    pen.lineTo(x(chunk.at), y(last));
    pen.lineTo(x(chunk.at), y(chunk.end));
    last = chunk.end;
  }
  pen.lineTo(x(now), y(last));
  pen.stroke();
  for (const chunk of u.chunks) { pen.beginPath(); pen.arc(x(chunk.at), y(chunk.end), 3, 0, 7); pen.fill(); }
  u.line ??= [];
  if (u.finished === null) u.line.push([now, u.heard]);
  pen.strokeStyle = "#c8442d";
  pen.lineWidth = 2;
  pen.beginPath();
  u.line.forEach(([t, s], i) => (i ? pen.lineTo(x(t), y(s)) : pen.moveTo(x(t), y(s))));
  pen.stroke();
  pen.lineWidth = 1;
}

function codes(u) {
  const canvas = $("codes"), pen = canvas.getContext("2d"), { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  if (!u.codes.length) return;
  const books = u.codes[0].length, column = Math.min(10, width / u.codes.length), row = (height - 22) / books;
  u.codes.forEach((frame, t) => frame.forEach((code, q) => {
    pen.fillStyle = `hsl(${(code * 137.5) % 360} 45% 62%)`;
    pen.fillRect(t * column, q * row, Math.max(1, column - 0.5), row - 0.5);
  }));
  pen.fillStyle = "#1c1b1a";
  pen.font = "12px system-ui";
  const per = column / FRAME_S;
  for (const [symbol, time] of u.phones) pen.fillText(symbol, time * per, height - 6);
  pen.fillStyle = "#c8442d";
  pen.fillRect(u.heard * per, 0, 2, height - 20);
}

function costs(u, r) {
  const ms = (s) => `${(1000 * s).toFixed(0)} ms`;
  $("parts").textContent = ["voice", "text", "prefill", "frames", "decode"].map((n) => `${n} ${ms(r[`${n}_s`])}`).join(" + ");
  $("work").textContent = `${r.busy_s.toFixed(2)} s of work, ${(60 * r.real_time_factor).toFixed(1)} s for a minute of speech`;
}

function draw() {
  const u = utterance;
  if (u) {
    words(u);
    lead(u);
    codes(u);
    if (u.first !== null) $("first").textContent = `${(u.first - u.asked).toFixed(0)} ms after the request, in this browser`;
    $("underruns").textContent = `${Math.max(0, u.made - u.heard).toFixed(2)} s, ${(1000 * u.dry).toFixed(0)} ms missing`;
    $("made").textContent = `${u.made.toFixed(2)} s, ${u.codes.length * (u.codes[0]?.length ?? 0)} tokens`;
    if (u.done && u.heard >= u.made - 0.05) settle();
  }
  requestAnimationFrame(draw);
}

$("speak").onclick = () => speak($("text").value);
$("type").onclick = () => speak($("text").value, { slowly: true });
$("compare").onclick = compare;
$("interrupt").onclick = interrupt;
$("microphone").onclick = record;
$("file").onchange = () => { const [file] = $("file").files; if (file) clone(file, file.name.replace(/\.\w+$/, "")); };
await voices();
await connect();
draw();
