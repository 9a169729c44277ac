// Where trials come from and votes go: a server, or this file alone.
"use strict";

const AHEAD = 8;  // films fetched before they are needed, for a while without network

const WAITING = 30000;  // milliseconds for an answer

class Refused extends Error {}

function serverBackend() {
  const saved = makeStorage("videojam-study-links");
  const given = decodeURIComponent(location.hash.slice(1));
  const links = () => saved.read() ?? {};
  let link = links()[given] ?? given;
  const films = new Map();

  async function ask(path, body) {
    const options = { headers: { authorization: `Bearer ${link}` }, cache: "no-store" };
    options.signal = AbortSignal.timeout(WAITING);  // a server may have gone without a word
    if (body) {
      options.method = "POST";
      options.headers["content-type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    const answer = await fetch(path, options);
    if (answer.ok) return answer;
    const why = (await answer.json().catch(() => ({}))).detail ?? answer.statusText;
    const error = answer.status < 500 && ![408, 429].includes(answer.status)
      ? new Refused(String(why)) : new Error(String(why));
    error.status = answer.status;
    throw error;
  }

  function film(trial) {
    if (!films.has(trial.film)) {
      const loaded = ask(`films/${trial.film}`).then((answer) => answer.blob())
        .then((blob) => URL.createObjectURL(blob));
      loaded.catch(() => films.delete(trial.film));
      films.set(trial.film, loaded);
    }
    return films.get(trial.film);
  }

  return {
    async load() {
      if (!link) throw new Refused("this page needs a link: open the one that you were sent");
      const own = (await (await ask("api/join", {})).json()).link;
      if (own !== link) saved.write({ ...links(), [given]: own });
      link = own;
      return (await ask("api/study")).json();
    },
    study: async () => (await ask("api/study")).json(),
    consent: () => ask("api/consent", {}),
    film,
    // The next few, one after the other; those that are behind are let go.
    async ahead(trials) {
      const near = new Set(trials.slice(0, AHEAD).map((trial) => trial.film));
      for (const [name, loaded] of films) {
        if (!near.has(name)) {
          films.delete(name);
          loaded.then((url) => URL.revokeObjectURL(url), () => {});
        }
      }
      for (const trial of trials.slice(0, AHEAD)) {
        try { await film(trial); } catch { return; }
      }
    },
    async send(vote) {
      try {
        const answer = await (await ask("api/votes", vote)).json();
        return { done: true, state: answer.state };
      } catch (error) {
        // 401: an expired link. The vote stays here; a new link for the same rater sends it.
        if (error instanceof Refused && error.status !== 401) return { refused: error.message };
        return { done: false };
      }
    },
  };
}

function fileBackend(data) {
  const kept = makeStorage(`videojam-study-votes-${data.study}-${data.rater}`);
  const votes = () => kept.read() ?? [];

  async function signature(message) {
    const bytes = Uint8Array.from(data.key.match(/../g), (pair) => parseInt(pair, 16));
    const kind = { name: "HMAC", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("raw", bytes, kind, false, ["sign"]);
    const signed = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(message));
    return [...new Uint8Array(signed)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  return {
    load: async () => ({
      ...data, state: "open", consented: votes().length > 0, done: votes().map((v) => v.trial),
    }),
    consent: async () => {},
    film: async (trial) => data.films[trial.film],
    ahead: async () => {},
    async send(vote) {
      kept.write([...votes().filter((each) => each.trial !== vote.trial), vote]);
      return { done: true, state: "open" };
    },
    // The text is signed as it stands, so that nobody has to write JSON in the same way.
    async file() {
      const text = JSON.stringify({ study: data.study, rater: data.rater, votes: votes() });
      const content = { format: "videojam study votes 1", text, signature: await signature(text) };
      const name = `votes-${data.study}-${data.rater}.json`;
      return new File([JSON.stringify(content)], name, { type: "application/json" });
    },
  };
}
