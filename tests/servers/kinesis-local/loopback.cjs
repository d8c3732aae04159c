// Loaded before kinesis-local, which has no option for it: whatever listens, listens on loopback, on a port that is free;
// that of plain HTTP is said, and all ends when standard input does, so that it never outlives the test that has started it.
const net = require("net");

// Only names here: which server of the two is meant.
const PLAIN = 1;
process.env.KINESIS_MOCK_PLAIN_PORT = String(PLAIN);
process.env.KINESIS_MOCK_TLS_PORT = String(PLAIN + 1);

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
  const callback = given.find((argument) => typeof argument === "function");
  const asked = typeof given[0] === "object" ? given[0].port : given[0];
  if (Number(asked) === PLAIN) {
    this.once("listening", () => process.stdout.write(`${this.address().port}\n`));
  }
  return listen.call(this, { host: "127.0.0.1", port: 0 }, callback);
};

process.stdin.on("end", () => process.exit());
process.stdin.resume();
