import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const READY_MS = 30_000;
const EXIT_MS = 15_000;

/** A roomcast server of our own, which keeps its port through restarts, and with `data` also what it was told. */
export class Server {
  #binary;
  #port;
  #storage;
  #folder = mkdtempSync(join(tmpdir(), 'roomcast-web-'));
  #process = null;

  constructor(binary, port, { data = false } = {}) {
    this.#binary = resolve(binary);
    this.#port = port;
    this.#storage = data ? ['--data', join(this.#folder, 'data')] : ['--memory'];
  }

  /** @param {string} binary @param {{ data?: boolean }} [options] */
  static async start(binary, options) {
    const server = new Server(binary, await free_port(), options);
    await server.up();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts it and waits until it says that it listens. */
  async up() {
    const child = spawn(this.#binary, ['--listen', `127.0.0.1:${this.#port}`, ...this.#storage], {
      cwd: this.#folder, stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    let said = '';
    await new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`the server is not ready: ${said}`)), READY_MS);
      const hear = (chunk) => {
        said += chunk;
        if (!said.includes('listening on http')) return;
        clearTimeout(timer);
        done();
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', (chunk) => (said += chunk));
      child.once('error', fail);
      child.once('exit', (code) => fail(new Error(`the server ended with ${code}: ${said}`)));
    });
  }

  /** Sends the signal and waits for the end. Returns the exit code, or null after a deadly signal. */
  async down(signal = 'SIGTERM') {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null) return child?.exitCode;
    const code = new Promise((done) => child.once('exit', done));
    const timer = setTimeout(() => child.kill('SIGKILL'), EXIT_MS);
    child.kill(signal);
    return code.finally(() => clearTimeout(timer));
  }

  async stop() {
    await this.down();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function free_port() {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once('error', fail);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}
