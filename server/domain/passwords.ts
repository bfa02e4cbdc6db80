import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from "node:crypto";
import { overloaded } from "./errors.ts";

/** How passwords are hashed. */
export interface PasswordOptions {
  /** The base-2 logarithm of scrypt's N; 17 takes 128 MiB and about a third of a second. r = 8, p = 1. */
  readonly cost: number;
  /** How many are hashed at once. Default 2. */
  readonly most?: number;
  /** How many may wait for their turn; more are told to come again. Default 32. */
  readonly mostWaiting?: number;
}

/**
 * Hashes passwords by scrypt, with a bound on the work: so many at once, off the event loop, and so many that wait.
 * What is stored says how it was made, so the cost can be raised: a hash of another cost is still verified.
 */
export class Passwords {
  readonly #options: Required<PasswordOptions>;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: PasswordOptions) {
    this.#options = { most: 2, mostWaiting: 32, ...options };
  }

  /** What is stored of a password. RESOURCE_EXHAUSTED when too many wait. */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(16);
    const hash = await this.#derive(password, salt, this.#options.cost);
    return ["scrypt", this.#options.cost, salt.toString("base64url"), hash.toString("base64url")].join(":");
  }

  /** Whether a password is the stored one. Null, for no account, takes the time of a stored one of the present cost. */
  async verify(password: string, stored: string | null): Promise<boolean> {
    const [, cost, salt, hash] = /^scrypt:(\d{1,2}):([\w-]+):([\w-]+)$/.exec(stored ?? "") ?? [];
    const wanted = Buffer.from(hash ?? "", "base64url");
    const given = await this.#derive(
      password,
      Buffer.from(salt ?? "AAAAAAAAAAAAAAAAAAAAAA", "base64url"),
      cost === undefined ? this.#options.cost : Number(cost),
    );
    const isComparable = wanted.length === given.length;
    return timingSafeEqual(given, isComparable ? wanted : Buffer.alloc(given.length)) && isComparable;
  }

  /** Whether a stored one was made at another cost than new ones. */
  isDated(stored: string): boolean {
    return !stored.startsWith(`scrypt:${this.#options.cost}:`);
  }

  async #derive(password: string, salt: Buffer, cost: number): Promise<Buffer> {
    if (this.#running >= this.#options.most) {
      if (this.#waiting.length >= this.#options.mostWaiting) throw overloaded(2_000);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      const N = 2 ** cost;
      return await derive(password.normalize("NFKC"), salt, { N, r: 8, p: 1, maxmem: 128 * 8 * N + 2 ** 20 });
    } finally {
      // Who waits takes the place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

function derive(password: string, salt: Buffer, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, 32, options, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}
