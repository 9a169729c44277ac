// Two clips from one film, drawn together on one canvas: they cannot fall out of step.
"use strict";

// The place of each half on the canvas: side by side, or above each other, whichever is larger.
// A strip above each clip has its number, so that nothing covers the clip.
function stageLayout(width, height, roomWidth, roomHeight) {
  const gap = Math.max(4, Math.round(width / 60)), strip = Math.max(8, Math.round(height / 14));
  const [wide, high] = [2 * width + gap, height + strip];
  const beside = Math.min(roomWidth / wide, roomHeight / high);
  const above = Math.min(roomWidth / width, roomHeight / (2 * high));
  return above > beside * 1.05
    ? { width, height: 2 * high, strip, places: [[0, strip], [0, high + strip]], scale: above }
    : { width: wide, height: high, strip, places: [[0, strip], [width + gap, strip]],
        scale: beside };
}

// The last frame that has begun at a time in milliseconds; times: begin of each frame, then the end.
function frameAt(times, milliseconds) {
  let low = 0, high = times.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= milliseconds + 0.5) low = middle; else high = middle - 1;
  }
  return low;
}

const LOADING = 20000;  // milliseconds after which a film that has not begun is asked for again

// The share of a video that was played, whichever of its frames the browser has told of.
function playedShare(video) {
  let seconds = 0;
  for (let k = 0; k < video.played.length; k += 1) {
    seconds += video.played.end(k) - video.played.start(k);
  }
  return seconds / (video.duration || Infinity);
}

function makePlayer(canvas, changed) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, loop: true, preload: "auto" });
  video.setAttribute("aria-hidden", "true");
  video.className = "source";
  document.body.append(video);
  const context = canvas.getContext("2d");
  // The video goes on while it is drawn: taken twice, the two halves could be of two frames.
  const frame = document.createElement("canvas"), taken = frame.getContext("2d");
  let trial = null, layout = null, seen = false, index = 0, drawn = 0, wanted = null;

  function fit() {
    if (!trial) return;
    const room = [canvas.parentElement.clientWidth, window.innerHeight * 0.56];
    layout = stageLayout(trial.width, trial.height, ...room);
    const sharp = Math.min(4, layout.scale * (window.devicePixelRatio || 1));
    canvas.width = Math.round(layout.width * sharp);
    canvas.height = Math.round(layout.height * sharp);
    canvas.style.width = `${Math.round(layout.width * layout.scale)}px`;
    layout.sharp = sharp;
    frame.width = 2 * trial.width;
    frame.height = trial.height;
    draw();
  }

  function draw() {
    if (!trial || video.readyState < 2) return;
    const { width, height } = trial;
    taken.drawImage(video, 0, 0, 2 * width, height);
    layout.places.forEach(([x, y], place) => {
      const from = (place === 1) !== trial.swapped ? width : 0;
      const [left, top] = [x, y].map((value) => Math.round(value * layout.sharp));
      const size = [width, height].map((value) => Math.round(value * layout.sharp));
      context.drawImage(frame, from, 0, width, height, left, top, ...size);
      label(place + 1, left, top, Math.round(layout.strip * layout.sharp));
    });
    drawn += 1;
  }

  function label(text, left, top, strip) {
    context.fillStyle = "#000";
    context.fillRect(left, top - strip, trial.width * layout.sharp, strip);
    context.font = `bold ${Math.round(strip * 0.75)}px system-ui, sans-serif`;
    context.fillStyle = "#fff";
    context.fillText(text, left + strip * 0.3, top - strip * 0.22);
  }

  function shown(seconds) {
    const last = trial.times.length - 2, before = index;
    index = frameAt(trial.times, seconds * 1000);
    // Seen to its end: the last frame, or a start over after nearly all of it.
    const ended = index === last || (!video.paused && before > 0.8 * last && index < before);
    if (ended && drawn > 0) seen = true;
    draw();
    changed();
  }

  // The browser says which frame it shows; older ones are asked at every repaint.
  if (video.requestVideoFrameCallback) {
    const onFrame = (_, shot) => {
      if (trial && wanted === null) shown(shot.mediaTime);
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  } else {
    const onPaint = () => {
      if (trial && wanted === null && !video.paused) shown(video.currentTime);
      requestAnimationFrame(onPaint);
    };
    requestAnimationFrame(onPaint);
  }
  video.addEventListener("seeked", () => {
    if (wanted === null) return;
    const at = wanted;
    wanted = null;
    shown(trial.times[at] / 1000);
  });
  // A busy browser leaves frames out, the last one among them, and tells of none in a hidden page.
  video.addEventListener("timeupdate", () => {
    if (!trial || seen || drawn === 0 || playedShare(video) < 0.9) return;
    seen = true;
    changed();
  });
  video.addEventListener("play", changed);
  video.addEventListener("pause", changed);
  window.addEventListener("resize", fit);

  return {
    video,
    fit,
    get seen() { return seen; },
    get index() { return index; },
    get drawn() { return drawn; },
    get paused() { return video.paused; },
    get slow() { return video.playbackRate < 1; },
    // Resolves when the first frame is on the canvas; rejects where it does not come.
    async load(url, next) {
      video.pause();
      trial = null;
      const ready = new Promise((resolve, reject) => {
        video.onloadeddata = resolve;
        video.onerror = () => reject(new Error("this clip cannot be played"));
        setTimeout(() => reject(new Error("this clip does not come")), LOADING);
      });
      video.src = url;
      await ready;
      [trial, seen, index, drawn, wanted] = [next, next.times.length === 2, 0, 0, null];
      video.playbackRate = 1;
      fit();
      await video.play().catch(() => {});  // a browser may want a touch first
    },
    toggle() { if (video.paused) video.play().catch(() => {}); else video.pause(); },
    toggleSlow() { video.playbackRate = this.slow ? 1 : 0.25; changed(); },
    step(by) {
      if (!trial) return;
      video.pause();
      const frames = trial.times.length - 1;
      wanted = ((wanted ?? index) + by + frames) % frames;
      // Into the middle of the frame, so that rounding cannot show its neighbour.
      video.currentTime = (trial.times[wanted] + trial.times[wanted + 1]) / 2000;
    },
    stop() { video.pause(); },
  };
}
