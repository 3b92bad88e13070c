// Verdicts of Node: client.js PORT ROOT HOST…
const fs = require('fs'), net = require('net'), tls = require('tls');
const [port, root, ...hosts] = process.argv.slice(2);
const ca = fs.readFileSync(root);
for (const host of hosts) {
  const options = { host: '127.0.0.1', port: Number(port), ca };
  if (!net.isIP(host)) options.servername = host;
  options.checkServerIdentity = (_, certificate) => tls.checkServerIdentity(host, certificate);
  const socket = tls.connect(options, () => { console.log(`${host} ok`); socket.destroy(); });
  socket.on('error', (error) => console.log(`${host} refused ${error.code || error.message}`));
}
