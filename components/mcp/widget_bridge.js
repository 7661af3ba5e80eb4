// A widget and its host. `widget(draw)` calls `draw(data)` with the structured content of a tool's
// answer, again whenever there is a newer one, and `draw(null, reason)` where the call was cancelled
// or failed. Hosts of MCP Apps are spoken to by messages, ChatGPT also by `window.openai`.
"use strict";

function widget(draw) {
  const host = window.parent;
  const say = (message) => host.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const hello = "widget-hello";

  function show(result) {
    if (result.isError) {
      const texts = (result.content || []).map((block) => block.text || "");
      draw(null, texts.join(" ") || "The tool could not answer.");
    } else if (result.structuredContent) {
      draw(result.structuredContent);
    }
  }

  function dress(context) {
    const theme = context && context.theme;
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  }

  function tellSize() {
    const { width, height } = document.documentElement.getBoundingClientRect();
    const params = { width: Math.ceil(width), height: Math.ceil(height) };
    say({ method: "ui/notifications/size-changed", params });
  }

  const heard = {
    "ui/notifications/tool-result": show,
    "ui/notifications/tool-cancelled": () => draw(null, "The call was cancelled."),
    "ui/notifications/host-context-changed": dress,
  };

  window.addEventListener("message", (event) => {
    const message = event.data;
    if (event.source !== host || !message || message.jsonrpc !== "2.0") return;
    if (message.id === hello && message.result) {
      dress(message.result.hostContext);
      say({ method: "ui/notifications/initialized" });
      new ResizeObserver(tellSize).observe(document.documentElement);
    } else if (message.method === "ui/resource-teardown" || message.method === "ping") {
      say({ id: message.id, result: {} });
    } else if (message.method in heard) {
      heard[message.method](message.params || {});
    }
  });

  function readGlobals() {
    if (!window.openai) return;
    dress(window.openai);
    if (window.openai.toolOutput) draw(window.openai.toolOutput);
  }

  window.addEventListener("openai:set_globals", readGlobals);
  readGlobals();
  if (host !== window) {
    const params = {
      protocolVersion: "2026-01-26",
      appInfo: { name: document.title, version: "1" },
      appCapabilities: {},
    };
    say({ id: hello, method: "ui/initialize", params });
  }
}

// A new element: `element("p", {class: "price"}, "10", child)`. Text is text, whatever it holds.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
