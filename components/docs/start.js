// Shows the document with Swagger UI, and takes what the window of a login hands on.
"use strict";
(() => {
  const page = document.getElementById("swagger-ui");
  const settings = { ...page.dataset };
  const ui = SwaggerUIBundle({
    url: settings.document,
    domNode: page,
    deepLinking: true,
    displayRequestDuration: true,
    layout: "BaseLayout",
    oauth2RedirectUrl: settings.redirect,
    presets: [SwaggerUIBundle.presets.apis],
    showMutatedRequest: false,
    validatorUrl: null,
  });
  ui.initOAuth({
    clientId: settings.client,
    scopes: settings.scopes,
    usePkceWithAuthorizationCodeGrant: true,
  });
  // A login leads back to the origin that its issuer was told of.
  document.getElementById("elsewhere").hidden = new URL(settings.page).origin === location.origin;

  new BroadcastChannel("swagger-ui-login").onmessage = ({ data }) => {
    const login = window.swaggerUIRedirectOauth2; // what Swagger UI waits for
    const answer = new URLSearchParams(data);
    if (!login || !login.state || answer.get("state") !== login.state) return; // another page's
    if (answer.has("code")) {
      delete login.state;
      login.auth.code = answer.get("code");
      login.callback({ auth: login.auth, redirectUrl: login.redirectUrl });
      return;
    }
    const said = [answer.get("error"), answer.get("error_description")].filter(Boolean).join(": ");
    login.errCb({
      authId: login.auth.name,
      level: "error",
      message: said || "the issuer gave no code",
      source: "auth",
    });
  };
})();
