const socket = new WebSocket(`ws://${location.host}/ws/${location.hash.slice(1) || "lobby"}`);
socket.onmessage = (event) => document.body.append(event.data);
