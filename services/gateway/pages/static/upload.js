// Files are sent to the interface in one form, and each receipt is followed until it is final.
"use strict";
(() => {
  const form = document.getElementById("upload");
  const drop = document.getElementById("drop");
  const input = document.getElementById("file");
  const source = document.getElementById("source");
  const rows = document.getElementById("rows");
  const sum = document.getElementById("sum");
  const mayFollow = form.dataset.follow === "1";
  const waiting = []; // receipts in the order in which they came: {row, receipt}
  let isFollowing = false;
  const count = { all: 0, found: 0, other: 0 };

  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

  function newRow(name) {
    const row = rows.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.append(Object.assign(document.createElement("bdi"), { textContent: name }));
    row.append(head);
    const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Sending ${name}`);
    const words = Object.assign(document.createElement("span"), { className: "told" });
    row.insertCell().append(bar, " ", words);
    say(row, "waits");
    return row;
  }

  function say(row, words) {
    row.querySelector(".told").textContent = words;
  }

  function setState(row, word, told) {
    const badge = document.querySelector(`template[data-state="${word}"]`);
    const words = row.querySelector(".told");
    row.cells[1].replaceChildren(badge ? badge.content.cloneNode(true) : word, " ", words);
    say(row, told);
    row.dataset.state = word;
  }

  function setLink(row, key) {
    const link = document.createElement("a");
    link.href = `/documents/${encodeURIComponent(key)}`;
    link.append(...row.cells[0].childNodes);
    row.cells[0].replaceChildren(link);
  }

  function tell() {
    const parts = [`${count.found} of ${count.all} searchable`];
    if (count.other) parts.push(`${count.other} not`);
    const left = count.all - count.found - count.other;
    if (left) parts.push(`${left} on the way`);
    sum.textContent = `${parts.join(", ")}.`;
  }

  function end(row, word, told) {
    setState(row, word, told);
    if (word === "searchable") count.found += 1;
    else count.other += 1;
    tell();
  }

  function showOutcome(row, answer) {
    let told = answer.reason?.text ?? "";
    if (answer.outcome === "unchanged") told = "nothing has changed";
    else if (answer.outcome === "superseded") told = "a newer version came";
    else if (!told && answer.freshness_s !== null) told = `found after ${answer.freshness_s.toFixed(2)} s`;
    end(row, answer.state, told);
  }

  async function follow() {
    if (isFollowing) return;
    isFollowing = true;
    while (waiting.length) {
      const { row, receipt } = waiting[0];
      try {
        const reply = await fetch(`/api/v1/receipts/${encodeURIComponent(receipt)}?wait=20`);
        if (!reply.ok && reply.status < 500) {
          end(row, "failed", (await reply.json()).detail);
          waiting.shift();
          continue;
        }
        if (!reply.ok) throw new Error(reply.statusText);
        const answer = await reply.json();
        if (answer.final) {
          waiting.shift();
          showOutcome(row, answer);
        } else {
          setState(row, answer.state, "on its way");
          if (waiting.length > 1) waiting.push(waiting.shift()); // others may be done by now
        }
      } catch {
        say(row, "instep does not answer; asked again in a moment");
        await sleep(2000);
      }
    }
    isFollowing = false;
  }

  function takeLine(line, byName) {
    const row = byName.get(line.file);
    if (!row) return;
    row.dataset.told = "1";
    if (line.document) setLink(row, line.document.doc_key);
    if (line.code) {
      end(row, "refused", line.detail);
    } else if (!mayFollow || !line.receipt) {
      setState(row, "queued", "taken");
    } else {
      setState(row, "queued", "taken");
      waiting.push({ row, receipt: line.receipt });
      follow();
    }
  }

  function showProgress(items, loaded) {
    let at = 0;
    for (const { row, file } of items) {
      const share = file.size ? (loaded - at) / file.size : 1;
      const done = Math.min(1, Math.max(0, share));
      const bar = row.querySelector("progress");
      if (bar && bar.value !== done) {
        bar.value = done;
        say(row, done < 1 ? `${Math.round(100 * done)} % sent` : "sent");
      }
      at += file.size;
    }
  }

  function offerAgain(items, key, to, why) {
    for (const { row } of items) {
      if (row.dataset.told) continue;
      say(row, why);
    }
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Send again";
    again.addEventListener("click", () => {
      again.remove();
      send(items, key, to);
    });
    sum.textContent = `${why} `;
    sum.append(again);
  }

  function send(items, key, to) {
    const body = new FormData();
    const byName = new Map();
    for (const { row, file, path } of items) {
      body.append("file", file, path);
      byName.set(path, row);
    }
    const request = new XMLHttpRequest();
    let read = 0;
    const take = () => {
      const text = request.responseText;
      for (let end = text.indexOf("\n", read); end >= 0; end = text.indexOf("\n", read)) {
        takeLine(JSON.parse(text.slice(read, end)), byName);
        read = end + 1;
      }
    };
    request.upload.addEventListener("progress", (event) => showProgress(items, event.loaded));
    request.addEventListener("progress", () => { if (request.status < 300) take(); });
    request.addEventListener("error", () => offerAgain(items, key, to, "The connection broke."));
    request.addEventListener("load", () => {
      if (request.status < 300) {
        take();
        if (items.some(({ row }) => !row.dataset.told)) offerAgain(items, key, to, "The answer broke off.");
        return;
      }
      let told = { detail: `instep answered with ${request.status}` };
      try { told = JSON.parse(request.responseText); } catch { /* the status is all that is known */ }
      if (request.status >= 500) return offerAgain(items, key, to, `${told.detail}.`);
      for (const { row } of items) end(row, "refused", told.detail);
    });
    request.open("POST", `/api/v1/sources/${encodeURIComponent(to)}/documents?receipts=all`);
    request.setRequestHeader("Idempotency-Key", key);
    request.send(body);
  }

  function take(files) {
    if (!files.length || !form.reportValidity()) return;
    document.getElementById("sent").hidden = false;
    const items = files.map(({ file, path }) => ({ file, path, row: newRow(path) }));
    count.all += items.length;
    tell();
    const random = crypto.getRandomValues(new Uint32Array(4)).join("-");
    send(items, `page-${random}`, source.value.trim());
  }

  async function readEntry(entry, before = "") {
    const path = before + entry.name;
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      return [{ file, path }];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return found;
      for (const one of some) found.push(...await readEntry(one, `${path}/`));
    }
  }

  async function dropped(transfer) {
    const entries = [...transfer.items].map((one) => one.webkitGetAsEntry?.()).filter(Boolean);
    if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
    const found = [];
    for (const entry of entries) found.push(...await readEntry(entry));
    return found;
  }

  form.querySelector(".drop-help").hidden = false;
  for (const kind of ["dragover", "drop"]) {
    // a file that misses the area must not take the place of the page
    document.addEventListener(kind, (event) => {
      if (event.dataTransfer.types.includes("Files")) event.preventDefault();
    });
  }
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    drop.classList.remove("over");
    take(await dropped(event.dataTransfer));
  });
  form.addEventListener("submit", (event) => {
    if (!input.files.length) return; // the page itself tells what is missing
    event.preventDefault();
    take([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
    form.querySelector("#file").value = "";
  });
})();
