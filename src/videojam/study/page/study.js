// The rater's way: consent, trials with answers by key or touch, thanks.
"use strict";

const $ = (id) => document.getElementById(id);
const SEEN_FIRST = "Watch the clips to their end once, then answer.";

function show(id) {
  for (const part of ["message", "consent", "trial"]) $(part).hidden = part !== id;
}

function say(text) {
  $("message-text").textContent = text;
  show("message");
}

async function main() {
  const inline = $("study-data");
  const backend = inline ? fileBackend(JSON.parse(inline.textContent)) : serverBackend();
  const study = await patiently(() => backend.load());
  if (!study) return;
  document.title = study.title;
  $("title").textContent = study.title;
  const outbox = makeOutbox(`videojam-study-outbox-${study.study}-${study.rater}`, backend.send,
    (answer) => {
      if (answer.refused) $("feedback").textContent = `An answer was not taken: ${answer.refused}`;
      if (answer.state) state = answer.state;
      $("queue").textContent = outbox?.trials.length
        ? `${outbox.trials.length} answers wait for the connection` : "";
    });
  const player = makePlayer($("stage"), update);
  const options = [["left", "Clip 1"], ["right", "Clip 2"]];
  if (study.ties) options.push(["tie", "No difference"]);
  if (study.both_bad) options.push(["bad", "Both bad"]);
  const done = new Set([...study.done, ...outbox.trials]);
  const times = [];
  let state = study.state, number = -1, answers = {}, began = 0, told = false;

  // Try until there is a network; a refusal is final and is shown.
  async function patiently(work) {
    for (let wait = 500; ; wait = Math.min(2 * wait, 8000)) {
      try {
        return await work();
      } catch (error) {
        if (error instanceof Refused) { say(error.message); return null; }
        const why = error instanceof TypeError ? "no connection" : error.message;
        say(`Trying again: ${why} …`);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  function questionFields() {
    $("questions").replaceChildren(...study.questions.map((question) => {
      const field = document.createElement("fieldset");
      const legend = document.createElement("legend");
      legend.textContent = question.text;
      const row = document.createElement("div");
      row.className = "choices";
      row.append(...options.map(([answer, text]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.dataset.answer = answer;
        button.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-label", `${text}: ${question.text}`);
        button.addEventListener("click", () => choose(question.id, answer));
        return button;
      }));
      field.dataset.question = question.id;
      field.append(legend, row);
      return field;
    }));
    const extra = [study.ties ? ", 0 no difference" : "", study.both_bad ? ", 9 both bad" : ""];
    $("keys").textContent = `1 or ← clip 1, 2 or → clip 2${extra.join("")}; Enter next; ` +
      "Backspace takes the last answer back; space pause, comma and full stop one frame back and " +
      "on, S quarter speed.";
  }

  const open = () => study.questions.find((question) => !(question.id in answers));
  const ready = () => player.seen || !study.watch_once;

  function choose(question, answer) {
    if (told) return;
    if (!ready()) { $("feedback").textContent = SEEN_FIRST; return; }
    answers[question] = answer;
    $("feedback").textContent = "";
    update();
  }

  function update() {
    if (number < 0) return;
    const next = open();
    for (const field of $("questions").children) {
      const id = field.dataset.question;
      field.classList.toggle("now", next?.id === id);
      for (const button of field.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(answers[id] === button.dataset.answer));
      }
    }
    if (ready() && $("feedback").textContent === SEEN_FIRST) $("feedback").textContent = "";
    $("next").disabled = Boolean(next) && !told;
    $("play").textContent = player.paused ? "▶" : "❚❚";
    $("play").setAttribute("aria-label", player.paused ? "Play" : "Pause");
    $("slow").setAttribute("aria-pressed", String(player.slow));
    $("frame").textContent = `${player.index + 1} / ${study.trials[number].times.length - 1}`;
  }

  function progress() {
    const left = study.trials.length - done.size;
    $("progress").max = study.trials.length;
    $("progress").value = done.size;
    const typical = [...times].sort((a, b) => a - b)[times.length >> 1];
    const minutes = typical ? Math.max(1, Math.round((left * typical) / 60)) : null;
    $("progress-text").textContent = `${done.size + 1} of ${study.trials.length}` +
      (minutes ? `, about ${minutes} min left` : "");
  }

  async function submit() {
    if (told) { told = false; await nextTrial(); return; }
    if (open() || number < 0) return;
    const trial = study.trials[number];
    const seconds = (performance.now() - began) / 1000;
    const vote = { trial: number, answers, seconds };
    done.add(number);
    times.push(seconds);
    outbox.add(vote);
    if (trial.practice) {
      const right = trial.practice.checks.every((id) => answers[id] === trial.practice.side);
      const wrong = trial.practice.side === "left" ? 2 : 1;
      $("feedback").textContent = `${right ? "Right" : "Look again"}: clip ${wrong} ` +
        `${trial.practice.why}. This one was practice.`;
      told = true;
      update();
      return;
    }
    await nextTrial();
  }

  async function nextTrial() {
    number = -1;
    player.stop();
    while (state === "paused") {
      say("The study is paused. This page goes on by itself.");
      await new Promise((resolve) => setTimeout(resolve, 5000));
      const now = await patiently(() => backend.study());
      if (!now) return;
      state = now.state;
    }
    const left = study.trials.map((trial, index) => ({ ...trial, index }))
      .filter((trial) => !done.has(trial.index));
    if (!left.length || state === "finished") { await thanks(left.length); return; }
    const [trial] = left;
    progress();
    // A film that was cut off on its way is asked for again, as anything else is.
    const loaded = await patiently(async () => {
      await player.load(await backend.film(trial), trial);
      return true;
    });
    if (!loaded) return;
    $("prompt").textContent = trial.prompt;
    $("feedback").textContent = trial.practice ? "Practice: this answer does not count." : "";
    show("trial");
    player.fit();
    answers = {};
    number = trial.index;
    began = performance.now();
    update();
    backend.ahead(left);
  }

  async function thanks(left) {
    say(left ? "The study has ended. Thank you!" : "That was all. Thank you!");
    if (backend.file) { await offerFile(); return; }
    while (outbox.trials.length) {
      say(`Thank you! ${outbox.trials.length} answers are still to be sent; please keep this open.`);
      await outbox.flush();
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    say(left ? "The study has ended. Thank you!" : "That was all, everything is saved. Thank you!");
  }

  async function offerFile() {
    $("message").append($("file-line"));
    say("That was all. Save your answers to a file and send it back. Thank you!");
    $("file-line").hidden = false;
  }

  async function save() {
    const file = await backend.file();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = file.name;
    link.click();
  }

  function back() {
    const given = study.questions.filter((question) => question.id in answers);
    if (given.length && !told) delete answers[given.at(-1).id];
    update();
  }

  const byKey = {
    1: "left", ArrowLeft: "left", ArrowUp: "left", 2: "right", ArrowRight: "right",
    ArrowDown: "right", ...(study.ties && { 0: "tie" }), ...(study.both_bad && { 9: "bad" }),
  };
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || number < 0) return;
    const onControl = ["BUTTON", "SUMMARY"].includes(event.target.tagName);
    if (onControl && [" ", "Enter"].includes(event.key) && event.target !== $("next")) return;
    const act = {
      Enter: submit, " ": player.toggle, ",": () => player.step(-1), ".": () => player.step(1),
      s: () => player.toggleSlow(), Backspace: back,
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (byKey[event.key]) {
      const question = open() ?? study.questions.at(-1);
      choose(question.id, byKey[event.key]);
    } else if (act) act(); else return;
    event.preventDefault();
  });
  $("next").addEventListener("click", submit);
  $("play").addEventListener("click", player.toggle);
  $("back").addEventListener("click", () => player.step(-1));
  $("forward").addEventListener("click", () => player.step(1));
  $("slow").addEventListener("click", () => player.toggleSlow());
  $("save").addEventListener("click", save);
  window.studyPlayer = player;  // for measurements

  questionFields();
  outbox.flush();
  if (backend.file) $("file-line").hidden = false;
  if (study.consented) { await nextTrial(); return; }
  if (state === "finished") { await thanks(1); return; }
  $("consent-text").textContent = study.consent;
  show("consent");
  $("agree").addEventListener("click", async () => {
    $("agree").disabled = true;
    if (await patiently(async () => { await backend.consent(); return true; })) await nextTrial();
  }, { once: true });
}

main().catch((error) => say(`This page has failed: ${error.message}. Please reload it.`));
