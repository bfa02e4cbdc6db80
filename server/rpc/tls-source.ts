/** Certificate chain and key (PEM), and which clients are let in. */
export interface TlsMaterial {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Authorities of client certificates. Absent: clients are not asked for one. */
  readonly ca?: string | Buffer;
  /** Without a certificate of `ca` nobody gets in; else only a wrong one is turned away. */
  readonly isClientCertRequired?: boolean;
  /** Serial numbers of client certificates that are refused: hexadecimal, upper case, no leading zeros. */
  readonly deniedSerials?: ReadonlySet<string>;
}

/** Certificates that may change while the listeners are open. */
export interface TlsSource {
  readonly current: TlsMaterial;
  /** Calls `listener` at each change, until the answer is called. */
  onChange(listener: (material: TlsMaterial) => void): () => void;
}
