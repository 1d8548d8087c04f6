// Keeps what a page shows up to date, without loading it again.
//
// One tab of a browser listens to the stream of events, and tells the others. A tab that is seen
// loads its page at most each second after an event, and puts the parts marked data-live in place.
"use strict";
(() => {
  const EVERY_MS = 1000, SAID_MS = 5000, AGAIN_MS = 5000, BUSY_MS = 3000, QUIET_MS = 15000;
  const parts = document.querySelectorAll("[data-live]");
  if (!parts.length || !window.EventSource || !window.BroadcastChannel) return;
  const tabs = new BroadcastChannel("instep");
  const said = document.getElementById("said"), line = document.getElementById("connection");
  let due = false, loading = false, loadedAt = Date.now(), saidAt = 0, timer = 0, stream = null;
  let spoken = firstLine();
  const about = document.getElementById("main").dataset.document;

  // -- the page of this tab

  // of a page about one document, events of others are not heard
  function heard(key) {
    if (!about || !key || key === about) changed();
  }

  function changed() {
    due = true;
    plan();
  }

  function plan() {
    if (!due || loading || document.hidden) return;
    clearTimeout(timer);
    timer = setTimeout(load, Math.max(0, loadedAt + EVERY_MS - Date.now()));
  }

  async function load() {
    due = false;
    loading = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html", "Instep-Live": "1" } });
      if (answer.status === 401) return tell("The session has ended. In a terminal: instep open");
      if (!answer.ok) throw new Error(answer.status);
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      tell("");
    } catch {
      tell("instep does not answer; this is how it was.");
      setTimeout(changed, AGAIN_MS);
    } finally {
      loading = false;
      loadedAt = Date.now();
      plan();
    }
  }

  function show(page) {
    for (const part of document.querySelectorAll("[data-live]")) {
      const now = page.querySelector(`[data-live="${part.dataset.live}"]`);
      if (now) keepOpen(part, now);
      if (!now || now.innerHTML === part.innerHTML || inUse(part)) continue;
      part.className = now.className;
      part.replaceChildren(...now.childNodes);
    }
    document.title = page.title;
    speak();
  }

  // what a person has opened or closed stays so
  function keepOpen(part, now) {
    const old = part.querySelectorAll("details"), fresh = now.querySelectorAll("details");
    if (old.length === fresh.length) fresh.forEach((one, n) => { one.open = old[n].open; });
  }

  // what a person is about to press or reads opened stays where it is
  function inUse(part) {
    return part.contains(document.activeElement) || part.querySelector("details[open]:hover, button:hover");
  }

  // a change of the first line is told to those who cannot see it; in between, nothing is
  function speak() {
    const text = firstLine();
    if (!said || text === spoken || Date.now() - saidAt < SAID_MS) return;
    said.textContent = spoken = text;
    saidAt = Date.now();
  }

  function firstLine() {
    const line = document.querySelector(".headline h1");
    return line ? line.textContent.replace(/[^\p{L}\p{N} :,.%]/gu, "").trim() : "";
  }

  function tell(words) {
    if (line && line.textContent !== words) line.textContent = words;
    if (line) line.hidden = !words;
  }

  // -- the stream, of one tab for all

  function listen() {
    return new Promise((end) => {
      const open = () => {
        stream = new EventSource("/api/v1/events");
        stream.onopen = () => all("");
        for (const kind of ["document", "batch", "validation", "reset"]) {
          stream.addEventListener(kind, (event) => all(JSON.parse(event.data).doc_key || ""));
        }
        stream.onerror = () => {
          all("");
          if (stream.readyState === EventSource.CLOSED) setTimeout(open, AGAIN_MS);
        };
      };
      open();
      addEventListener("pagehide", () => { stream.close(); end(); }, { once: true });
    });
  }

  function all(key) {
    tabs.postMessage(key);
    heard(key);
  }

  tabs.onmessage = (message) => heard(message.data);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) changed(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  // what waits and ages sends no event
  setInterval(() => {
    const wait = document.querySelector(".headline:not(.good)") ? BUSY_MS : QUIET_MS;
    if (Date.now() - loadedAt > wait) changed();
  }, EVERY_MS);
  // only pages of this machine or over HTTPS have locks; others listen each for itself
  if (navigator.locks) navigator.locks.request("instep stream", listen).catch(listen);
  else listen();
})();
