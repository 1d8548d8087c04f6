// Sliders ask again while they are moved, and commands get a button that copies them.
"use strict";
(() => {
  const form = document.getElementById("ask");
  let timer = 0;
  let running = null;

  function addCopyButtons() {
    if (!navigator.clipboard) return;
    for (const block of document.querySelectorAll(".copy:not(:has(button))")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(block.querySelector("code").textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Not allowed: select the text";
        }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      block.append(button);
    }
  }

  function address() {
    const url = new URL(form.action);
    for (const [name, value] of new FormData(form)) {
      if (value !== "") url.searchParams.set(name, value);
    }
    return url;
  }

  async function ask() {
    running?.abort();
    const mine = running = new AbortController();
    const url = address();
    if (!url.searchParams.get("q")?.trim()) return;
    const before = document.getElementById("answer");
    before.setAttribute("aria-busy", "true");
    try {
      const reply = await fetch(url, { signal: mine.signal, headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      const after = page.getElementById("answer");
      if (mine !== running) return;
      if (!after) throw new Error("no answer");
      const open = [...before.querySelectorAll("details")].map((one) => one.open);
      if (open.length === after.querySelectorAll("details").length) {
        after.querySelectorAll("details").forEach((one, n) => { one.open = open[n]; });
      }
      before.replaceWith(after);
      for (const told of form.querySelectorAll(".weights .fault")) told.remove();
      const fault = page.querySelector(".weights .fault, form > .fault, main > .fault");
      if (fault) form.querySelector(".weights legend").after(fault);
      document.getElementById("told").textContent =
        after.querySelector("#summary")?.textContent.replace(/\s+/g, " ").trim() ?? "";
      history.replaceState(null, "", url);
      addCopyButtons();
    } catch (error) {
      if (error.name === "AbortError") return;
      before.removeAttribute("aria-busy");
      form.submit(); // the page itself tells what is wrong
    }
  }

  form.addEventListener("input", (event) => {
    const slider = event.target;
    if (slider.type !== "range") return;
    document.getElementById(`o-${slider.name}`).value = Number(slider.value).toFixed(2);
    clearTimeout(timer);
    timer = setTimeout(ask, 200);
  });
  addCopyButtons();
})();
