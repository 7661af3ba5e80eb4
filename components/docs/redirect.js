// Hands what an issuer answered to the page that asked, and closes the window of the login.
"use strict";
(() => {
  const channel = new BroadcastChannel("swagger-ui-login");
  channel.postMessage(location.search);
  channel.close();
  history.replaceState(null, "", location.pathname); // a code is for nobody else
  window.close();
})();
