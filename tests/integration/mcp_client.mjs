// A host on the official TypeScript SDK: logs in at URL as USER, and prints what it gets of TOOL.
// Arguments: URL USER TOOL ARGUMENTS(JSON)
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, user, tool, args] = process.argv.slice(2);
const steps = [];
let code;

// What a person does in a browser: reads the page, chooses who they are, approves.
async function approve(authorization) {
  steps.push("authorize");
  const page = await fetch(authorization);
  const cookies = page.headers.getSetCookie().map((cookie) => cookie.split(";")[0]);
  const ticket = (await page.text()).match(/name="ticket" value="([^"]+)"/)[1];
  const answer = await fetch(new URL("/authorize/consent", authorization), {
    method: "POST",
    body: new URLSearchParams({ ticket, user, decision: "approve" }),
    headers: { Origin: authorization.origin, Cookie: cookies.join("; ") },
    redirect: "manual",
  });
  code = new URL(answer.headers.get("location")).searchParams.get("code");
}

const kept = {};
const provider = {
  redirectUrl: "http://127.0.0.1:9/callback",
  clientMetadata: { client_name: "TypeScript", redirect_uris: ["http://127.0.0.1:9/callback"] },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { steps.push("register"); kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { steps.push("token"); kept.tokens = tokens; },
  redirectToAuthorization: approve,
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
};

const open = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
const client = new Client({ name: "test", version: "1" });
const first = open();
try {
  await client.connect(first);
} catch (error) {
  if (!(error instanceof UnauthorizedError)) throw error;
  steps.push("unauthorized");
  await first.finishAuth(code);
  await client.connect(open());
}
const { tools } = await client.listTools();
const { resources } = await client.listResources();
const answer = await client.callTool({ name: tool, arguments: JSON.parse(args) });
const uri = tools.find((found) => found.name === tool)._meta.ui.resourceUri;
const widget = (await client.readResource({ uri })).contents[0];
await client.close();
console.log(JSON.stringify({ steps, tools, resources, answer, widget }));
