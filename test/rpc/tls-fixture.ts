import type { TlsMaterial, TlsSource } from "../../server/rpc/tls-source.ts";

/** Certificates that change when a test says so. */
export interface ChangingTls extends TlsSource {
  change(material: TlsMaterial): void;
}

/** Makes them. */
export function changingTls(first: TlsMaterial): ChangingTls {
  const listeners = new Set<(material: TlsMaterial) => void>();
  let current = first;
  return {
    get current() {
      return current;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    change(material) {
      current = material;
      for (const listener of listeners) listener(material);
    },
  };
}

/** A certificate for localhost that signs itself, for tests alone: its key is public. */
export const testCert = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUUTXDy8DvjLQD5yZxnAtNG9/J3SIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE0MDIxOVoYDzIxMjYxMDI5
MTQwMjE5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATFH5lGUeoQz+BIk3BxvGUD+jEoeWE8DK2JwXwWMb1ZfhpcT5xNswBC
BTPAMMKoDzZQbE84hjL48vYcT/H3Q1oDo28wbTAdBgNVHQ4EFgQUzUKtcQGVQF4A
pc41EXU2xU9lYM4wHwYDVR0jBBgwFoAUzUKtcQGVQF4Apc41EXU2xU9lYM4wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgertKnEvnmuIEwkson82S5pZL/RNmwIyh4EVxdPqyFYMCIEGM
WKVOqBTA34pYZ+j5Kam3LOhHPs9r0lCjxDmdau6o
-----END CERTIFICATE-----`;

/** The key of `testCert`. */
export const testKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyVfw2QpWIgBbFuuu
Bjmr5N1PFH3ef9FbOeNKH5ATmxOhRANCAATFH5lGUeoQz+BIk3BxvGUD+jEoeWE8
DK2JwXwWMb1ZfhpcT5xNswBCBTPAMMKoDzZQbE84hjL48vYcT/H3Q1oD
-----END PRIVATE KEY-----`;

/** Another one, which knows nothing of the first. */
export const otherCert = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUdtYgRzz6wxtFIMsFzU462vH2SUkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzAyMTQzNFoYDzIxMjYxMDMw
MDIxNDM0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAToVMJZtAx/8kh2clQkHU0B1PQlYKgIyn4FZx3PXR8Ax1MmBbVAPkNm
dAf8LEJkOtglaNf1KUxcIznVEm2IqmBUo28wbTAdBgNVHQ4EFgQUOyFpQWsL7h3J
w8B0Ugpne10+fhYwHwYDVR0jBBgwFoAUOyFpQWsL7h3Jw8B0Ugpne10+fhYwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAMXfFBHZ4C2bnbrqVsPUALBa2GCGq4M4yR3Z4YHECTjLAiB1
6drwIqEMFRZhUKBkA89giU5lY+YgqL00m6+kclMnSA==
-----END CERTIFICATE-----`;

/** The key of `otherCert`. */
export const otherKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOtyU99yWtkoQXksn
WoCJbgERl78YJVXRzdywKWONvPahRANCAAToVMJZtAx/8kh2clQkHU0B1PQlYKgI
yn4FZx3PXR8Ax1MmBbVAPkNmdAf8LEJkOtglaNf1KUxcIznVEm2IqmBU
-----END PRIVATE KEY-----`;
