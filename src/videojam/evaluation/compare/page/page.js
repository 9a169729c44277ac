"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const BATCH = 12; // cards drawn at once
  let shown = BATCH;
  let order = [];
  let current = null;

  // ---- small helpers
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }
  const number = (value, signed) => {
    if (value === null || value === undefined) return "–";
    const digits = Math.abs(value) >= 10 ? 1 : 3;
    return (signed && value >= 0 ? "+" : "") + value.toFixed(digits);
  };
  const pairName = ([a, b]) => `${a} - ${b}`;
  const chosenPair = () => data.pairs[Number(at("pair").value)] || null;
  const chosenMetric = () => at("metric").value;

  function difference(card, metric, pair) {
    if (!pair) return null;
    const [a, b] = pair.map((system) => card.values[system][metric]);
    return a === null || b === null || a === undefined || b === undefined ? null : a - b;
  }
  // How good a difference is for the subject: null where no direction is better.
  function gain(value, metric) {
    const better = data.metrics[metric].better;
    if (value === null || better === "near") return null;
    return better === "high" ? value : -value;
  }

  // ---- the tables on top
  function fill(table, head, rows) {
    table.replaceChildren(
      make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows),
    );
  }
  function drawTables() {
    const metrics = Object.keys(data.metrics);
    const pairs = data.pairs.map(pairName);
    const chosen = chosenMetric();
    const line = (metric, cells) => make("tr", metric === chosen ? { class: "chosen" } : {},
      make("th", { scope: "row", title: data.metrics[metric].sees }, metric),
      ...cells.map((text) => make("td", {}, text)));
    fill(at("means"), ["mean", ...data.systems],
      metrics.map((metric) => line(metric, data.systems.map((s) => data.means[metric][s]))));
    const star = new Set(data.starred.map((place) => place.join("\n")));
    fill(at("gaps"), ["difference", ...pairs],
      metrics.map((metric) => line(metric, pairs.map(
        (pair) => data.gaps[metric][pair] + (star.has(`${metric}\n${pair}`) ? " *" : "")
          + (metric === data.primary && pair === pairs[0] ? " (primary)" : "")))));
    at("papers").replaceChildren(...data.tables.flatMap((table) => {
      const element = make("table");
      fill(element, ["", "", ...table.columns], table.rows.map(([whose, name, row]) =>
        make("tr", { class: whose }, make("td", {}, whose), make("th", { scope: "row" }, name),
          ...row.map((value) => make("td", {}, value === null ? "-" : value.toFixed(1))))));
      return [make("p", { class: "soft" }, table.caption), make("div", { class: "scroll" }, element)];
    }));
  }

  // ---- which cards, in which order
  function arrange() {
    const metric = chosenMetric();
    const pair = chosenPair();
    const words = at("words").value.trim().toLowerCase();
    const wanted = [...document.querySelectorAll("#filters select")]
      .map((select) => [select.dataset.tag, select.value]).filter(([, value]) => value);
    order = data.cards.filter((card) =>
      (!words || card.prompt.toLowerCase().includes(words))
      && wanted.every(([tag, value]) => (card.tags[tag] || []).includes(value)));
    const how = at("order").value;
    const key = (card) => {
      const value = difference(card, metric, pair);
      if (value === null) return null;
      if (how === "large") return -Math.abs(value);
      const good = gain(value, metric);
      const ranked = good === null ? value : good;
      return how === "worst" ? ranked : -ranked;
    };
    if (how !== "number" && pair) {
      // Cards without a value come last, in their own order.
      order = order.map((card, place) => [card, key(card), place]).sort((x, y) =>
        (x[1] === null) - (y[1] === null) || (x[1] ?? 0) - (y[1] ?? 0) || x[2] - y[2])
        .map(([card]) => card);
    }
    shown = BATCH;
    drawCards();
  }

  // ---- cards
  const visible = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) { entry.target.player.stop(); continue; }
      for (const video of entry.target.querySelectorAll("video[data-src]")) {
        video.src = video.dataset.src;
        video.removeAttribute("data-src");
      }
    }
  }, { rootMargin: "400px" });

  function draw(card) {
    const metric = chosenMetric();
    const pair = chosenPair();
    const grid = make("div", { class: "clips" });
    for (const system of data.systems) {
      const clip = card.clips[system];
      const value = `${system}: ${number(card.values[system][metric])}`;
      grid.append(make("figure", {}, clip ? video(clip.video, `${system}: ${card.prompt}`)
        : make("div", { class: "none" }, "no clip"), make("figcaption", {}, value)));
      if (clip && clip.motion) {
        grid.append(make("figure", { class: "motion" },
          video(clip.motion, `motion predicted by ${system}`),
          make("figcaption", {}, `${system}: predicted motion`)));
      }
    }
    const gap = difference(card, metric, pair);
    const good = gain(gap, metric);
    const mark = good === null || good === 0 ? "" : good > 0 ? "good" : "bad";
    const tags = Object.entries(card.tags).map(([tag, values]) => `${tag}: ${values.join(", ")}`);
    const article = make("article", { tabindex: "-1", "data-number": card.number, "data-seed": card.seed },
      make("h2", {}, card.prompt),
      make("p", { class: "tags" }, [`prompt ${card.number}`, `seed ${card.seed}`, ...tags].join(" · ")),
      grid,
      make("div", { class: "player" },
        make("button", { type: "button", class: "play", "aria-label": "play or stop" }, "▶"),
        make("button", { type: "button", class: "back", "aria-label": "one frame back" }, "◀|"),
        make("button", { type: "button", class: "on", "aria-label": "one frame on" }, "|▶"),
        make("output", {}, "")),
      make("p", {}, pair ? `${pairName(pair)}: ${metric} ` : "", make("b", { class: mark }, number(gap, true))),
      details(card));
    article.player = player(article);
    article.querySelector(".play").onclick = () => { choose(article); article.player.toggle(); };
    article.querySelector(".back").onclick = () => { choose(article); article.player.step(-1); };
    article.querySelector(".on").onclick = () => { choose(article); article.player.step(1); };
    visible.observe(article);
    return article;
  }
  function video(source, label) {
    const element = make("video", { "data-src": source, "aria-label": label, preload: "auto", playsinline: "" });
    element.muted = true;
    return element;
  }
  function details(card) {
    const table = make("table");
    const box = make("details", {}, make("summary", {}, "all metrics"), make("div", { class: "scroll" }, table));
    box.addEventListener("toggle", () => {
      if (box.open) {
        fill(table, ["", ...data.systems], Object.keys(data.metrics).map((metric) =>
          make("tr", {}, make("th", { scope: "row" }, metric),
            ...data.systems.map((system) => make("td", {}, number(card.values[system][metric]))))));
      }
    }, { once: true });
    return box;
  }
  function drawCards() {
    visible.disconnect();
    for (const article of at("cards").children) article.player.stop();
    const articles = order.slice(0, shown).map(draw);
    at("cards").replaceChildren(...articles);
    at("count").textContent = `${order.length} of ${data.cards.length} clips`;
    at("more").hidden = order.length <= shown;
    current = null;
    if (articles.length) mark(articles[0]);
  }
  function mark(article) {
    if (current) current.classList.remove("current");
    current = article;
    current.classList.add("current");
  }
  function choose(article) {
    if (article !== current && current) current.player.stop();
    mark(article);
  }

  // ---- all clips of a card in step: one clock for all of them
  function player(article) {
    const videos = () => [...article.querySelectorAll("video")].filter((one) => one.readyState > 0);
    const say = article.querySelector("output");
    let playing = false;
    let frame = 0;
    let began = 0;
    const frames = () => Math.max(1, ...videos().map((one) => Math.round(one.duration * data.fps) || 1));
    const show = () => {
      for (const one of videos()) {
        // The middle of a frame; a shorter clip stays at its end.
        const time = Math.min((frame + 0.5) / data.fps, Math.max(0, one.duration - 0.25 / data.fps));
        if (Math.abs(one.currentTime - time) > 0.1 / data.fps) one.currentTime = time;
      }
      say.textContent = `frame ${frame + 1} of ${frames()}`;
    };
    const tick = (now) => {
      if (!playing) return;
      const speed = Number(at("speed").value);
      const next = Math.floor(((now - began) / 1000) * data.fps * speed) % frames();
      // A frame that is still being looked for is waited for, by all of them.
      if (next !== frame && videos().every((one) => !one.seeking)) { frame = next; show(); }
      requestAnimationFrame(tick);
    };
    const button = article.querySelector(".play");
    const stop = () => { playing = false; button.textContent = "▶"; };
    return {
      stop,
      toggle() {
        if (playing) { stop(); return; }
        playing = true;
        button.textContent = "❚❚";
        began = performance.now() - (frame / data.fps) * 1000 / Number(at("speed").value);
        requestAnimationFrame(tick);
      },
      step(by) { stop(); frame = (frame + by + frames()) % frames(); show(); },
      frame: () => frame,
      playing: () => playing,
    };
  }

  // ---- controls
  function options(select, entries) {
    select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
  }
  options(at("metric"), Object.keys(data.metrics).map((name) => [name, name]));
  at("metric").value = data.primary;
  options(at("pair"), data.pairs.map((pair, place) => [place, pairName(pair)]));
  at("filters").append(...Object.entries(data.tags).map(([tag, values]) => {
    const select = make("select", { "data-tag": tag, "aria-label": tag });
    options(select, [["", "all"], ...values.map((value) => [value, value])]);
    select.onchange = arrange;
    return make("label", {}, `${tag} `, select);
  }));
  at("notes").replaceChildren(...data.notes.map((note) => make("li", {}, note)));
  if (!data.notes.length) at("notes-box").remove();
  for (const id of ["metric", "pair", "order"]) at(id).onchange = () => { drawTables(); arrange(); };
  at("words").oninput = arrange;
  at("motion").onchange = () => document.body.classList.toggle("still", !at("motion").checked);
  at("more").onclick = () => {
    const from = shown;
    shown += BATCH;
    at("cards").append(...order.slice(from, shown).map(draw));
    at("more").hidden = order.length <= shown;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === " " && event.target.tagName === "BUTTON") return;
    if (!current) return;
    const moves = { j: "nextElementSibling", k: "previousElementSibling" };
    if (event.key in moves) {
      if (event.key === "j" && !current.nextElementSibling && !at("more").hidden) at("more").click();
      const next = current[moves[event.key]];
      if (next) { choose(next); next.scrollIntoView({ block: "start" }); next.focus({ preventScroll: true }); }
    } else if (event.key === " ") {
      current.player.toggle();
    } else if (event.key === "ArrowLeft") {
      current.player.step(-1);
    } else if (event.key === "ArrowRight") {
      current.player.step(1);
    } else if (event.key === "m") {
      at("motion").click();
    } else {
      return;
    }
    event.preventDefault();
  });
  drawTables();
  arrange();
})();
