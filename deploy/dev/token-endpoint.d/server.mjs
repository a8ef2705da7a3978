// An OpenID provider (oidc-provider) with one client, `walpost`, that gets tokens by client credentials:
// JWTs signed with RS256 for the audience `kafka`. See ../token-endpoint.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, port, secret, life, certificate, key] = process.argv.slice(2);
const modules = createRequire(`${process.env.OIDC_FOLDER}/`);
const { default: Provider } = await import(pathToFileURL(modules.resolve('oidc-provider')));

// The key outlives the process, so that brokers that know it accept the tokens of the next one.
const file = `${folder}/jwks.json`;
if (!existsSync(file)) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' };
  writeFileSync(file, JSON.stringify({ keys: [jwk] }), { mode: 0o600 });
}

const provider = new Provider('https://idp.example', {
  jwks: JSON.parse(readFileSync(file, 'utf8')),
  cookies: { keys: [randomUUID()] },
  scopes: ['kafka'],
  clients: [{
    client_id: 'walpost',
    client_secret: secret,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    scope: 'kafka',
  }],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://kafka.example',
      getResourceServerInfo: () => ({
        scope: 'kafka',
        audience: 'kafka',
        accessTokenTTL: Number(life),
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.on('grant.success', () => console.log('a token was given'));
provider.on('grant.error', (ctx, error) => console.log(`no token was given: ${error.error}`));

const plain = http.createServer(provider.callback());
await new Promise((done) => plain.listen(Number(port), '127.0.0.1', done));
if (certificate) {
  const files = { cert: readFileSync(certificate), key: readFileSync(key) };
  const encrypted = https.createServer(files, provider.callback());
  await new Promise((done) => encrypted.listen(Number(port) + 1, '127.0.0.1', done));
}
console.log('ready');
