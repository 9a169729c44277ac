// Votes on their way: kept on this device until the server says that they are on its disk.
"use strict";

function makeStorage(key) {
  let memory = null;  // where the browser keeps nothing, as in some private windows
  return {
    read() {
      try { return JSON.parse(localStorage.getItem(key)) ?? memory; } catch { return memory; }
    },
    write(value) {
      memory = value;
      try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* memory has it */ }
    },
  };
}

// send(vote) resolves to {done: true}, or {done: false} to try again later, or {refused: why}.
function makeOutbox(key, send, changed) {
  const storage = makeStorage(key);
  let busy = false, wait = 500, timer = null;
  const queue = () => storage.read() ?? [];

  async function flush() {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    while (queue().length) {
      const [vote] = queue();
      const answer = await send(vote);
      if (!answer.done && !answer.refused) {
        timer = setTimeout(flush, wait);
        wait = Math.min(2 * wait, 8000);
        break;
      }
      wait = 500;
      storage.write(queue().filter((each) => each.trial !== vote.trial));
      changed(answer);
    }
    busy = false;
    changed({});
  }

  window.addEventListener("online", () => { wait = 500; flush(); });
  return {
    add(vote) {
      storage.write([...queue().filter((each) => each.trial !== vote.trial), vote]);
      return flush();
    },
    flush,
    get trials() { return queue().map((vote) => vote.trial); },
  };
}
