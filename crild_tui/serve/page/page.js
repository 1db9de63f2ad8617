// Prepares the page for textual-serve's script: address, font size, fonts. Says what happened when the connection ends.
"use strict";

const RETRY = 2000; // milliseconds between two attempts to reach the server again
const [SMALLEST, USUAL, LARGEST] = [6, 16, 64]; // font sizes in pixels
const [CLOSED, GOING_AWAY, LOST] = [1000, 1001, 1006]; // why a websocket was closed

const open = window.open;
const sentence = document.getElementById("sentence");
const again = document.getElementById("again");
again.onclick = () => location.reload();

function say(text) {
  sentence.textContent = text;
  document.body.classList.add("-closed");
  again.hidden = false;
  again.focus();
}

async function reconnect() {
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (answer.ok) location.reload();
    else say((await answer.text()).trim());
  } catch {
    setTimeout(reconnect, RETRY);
  }
}

function closed(event) {
  if (event.code === LOST || event.code === GOING_AWAY) {
    say(`${event.reason || "The connection was lost."} Runs keep going. This page opens the dashboard again when the server answers.`);
    setTimeout(reconnect, RETRY);
  } else {
    say(event.reason || "The dashboard was closed.");
  }
}

// Sends nothing while it is not open: textual-serve's script does not look.
class Connection extends (window.WebSocket || Object) {
  constructor(...words) {
    super(...words);
    this.addEventListener("close", closed);
    this.addEventListener("open", () => document.querySelector(".xterm-helper-textarea").focus());
  }

  send(message) {
    if (this.readyState === Connection.OPEN) super.send(message);
  }
}

// A file of the dashboard is downloaded where textual-serve's script would open a window, which browsers may refuse.
function openOrDownload(url, ...words) {
  if (!String(url).startsWith(`${location.origin}/download/`)) return open.call(window, url, ...words);
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  link.click();
  return null;
}

async function start() {
  window.WebSocket = Connection;
  window.open = openOrDownload;
  const wanted = parseInt(new URLSearchParams(location.search).get("fontsize"), 10) || USUAL;
  const size = Math.min(Math.max(wanted, SMALLEST), LARGEST);
  history.replaceState(null, "", size === USUAL ? "/" : `/?fontsize=${size}`); // textual-serve's script reads other words
  const terminal = document.getElementById("terminal");
  terminal.dataset.sessionWebsocketUrl = `${location.origin.replace(/^http/, "ws")}/ws`;
  terminal.dataset.fontSize = size;
  const kinds = ["", "bold ", "italic ", "bold italic "]; // the terminal measures and draws with what is there at its start
  await Promise.allSettled(kinds.map((kind) => document.fonts.load(`${kind}${size}px "Roboto Mono"`, "a\u28ff")));
  if (document.readyState !== "complete") await new Promise((done) => window.addEventListener("load", done));
  const script = document.createElement("script");
  script.src = "/static/js/textual.js";
  script.onload = () => window.onload();
  script.onerror = () => say("A part of the page could not be loaded: reload it.");
  document.head.append(script);
}

if (window.WebSocket && document.fonts) start();
else say("This browser lacks websockets or fonts of a page, which the dashboard needs: open this address in another one.");
