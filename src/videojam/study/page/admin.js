// The owner's page: counts, interval, pause.
"use strict";

const $ = (id) => document.getElementById(id);
let password = "", paused = false;

async function ask(path, body) {
  const answer = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${password}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail);
  return content;
}

function per(share) { return `${(100 * share).toFixed(1)} %`; }

function show(now) {
  $("enter").hidden = true;
  $("live").hidden = false;
  $("title").textContent = now.title;
  paused = now.state === "paused";
  const why = { early: "by the stopping rule", planned: "as planned" }[now.why] ?? "";
  $("state").textContent = `${now.state} ${why} · ${now.votes} of ${now.planned_votes} votes ` +
    `that count · ${now.raters.length} of ${now.places} places taken`;
  $("votes").max = now.planned_votes;
  $("votes").value = now.votes;
  const { interval } = now;
  $("interval").textContent = interval
    ? `${now.primary}: ${now.systems[0]} against ${now.systems[1]} ${per(interval.share)}, ` +
      `${per(interval.level)} sequence ${per(interval.low)} to ${per(interval.high)}`
    : "No interval yet, or more than two systems.";
  $("pause").textContent = paused ? "Go on" : "Pause";
  $("pause").disabled = now.state === "finished";
  $("raters").replaceChildren(...now.raters.map((rater) => {
    const row = document.createElement("tr");
    const cells = [rater.rater, rater.source, rater.consented ? "yes" : "no",
      `${rater.done} of ${rater.of}`, rater.reasons.join("; ")];
    row.append(...cells.map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
}

async function refresh() {
  try {
    show(await ask("api/admin"));
    $("error").textContent = "";
  } catch (error) {
    $("error").textContent = error.message;
  }
}

$("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  password = $("password").value;
  await refresh();
  if (!$("live").hidden) setInterval(refresh, 3000);
});
$("pause").addEventListener("click", async () => {
  try { await ask("api/admin/pause", { paused: !paused }); } catch { /* refresh says why */ }
  await refresh();
});
