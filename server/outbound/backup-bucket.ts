import {
  type BackupPlace,
  backupNameForm,
  checkNames,
  manifestFile,
  type PlaceSettings,
} from "./backup-place.ts";

/** A part of an upload; S3 takes none below 5 MiB but the last, and at most 10,000. */
const partBytes = 16 * 1024 * 1024;

/** What reading a place that answers an error may say: never its body. */
export class BucketError extends Error {
  override readonly name = "BucketError";
}

/**
 * A place in S3, or in what speaks like it: `s3://bucket/prefix`. Nothing is renamed there: a backup is whole when
 * its manifest is there, which is written last. Credentials come from where the SDK finds them: AWS_ACCESS_KEY_ID and
 * its kin, the shared files, or the machine's role. The SDK is loaded at the first use.
 */
export function openBucketPlace({ place, endpoint, region }: PlaceSettings): BackupPlace {
  const [, bucket = "", rest = ""] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(place) ?? [];
  const prefix = rest === "" || rest.endsWith("/") ? rest : `${rest}/`;
  const keyOf = (backup: string, file: string) => `${prefix}${backup}/${file}`;
  let opened: Promise<Opened> | undefined;
  const open = (): Promise<Opened> => {
    opened ??= import("@aws-sdk/client-s3").then((sdk) => ({
      sdk,
      client: new sdk.S3Client({
        region,
        ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
        // Others than Amazon's do not know its newer checksums.
        requestChecksumCalculation: "WHEN_REQUIRED",
        responseChecksumValidation: "WHEN_REQUIRED",
      }),
    }));
    return opened;
  };
  const keysBelow = async (below: string, signal: AbortSignal): Promise<string[]> => {
    const { sdk, client } = await open();
    const keys: string[] = [];
    let token: string | undefined;
    do {
      const page = await client.send(
        new sdk.ListObjectsV2Command({
          Bucket: bucket,
          Prefix: below,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
        { abortSignal: signal },
      );
      keys.push(...(page.Contents ?? []).flatMap(({ Key }) => (Key === undefined ? [] : [Key])));
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    return keys;
  };
  return {
    shown: place,
    async write(backup, file, body, signal) {
      checkNames(backup, file);
      return upload(await open(), { Bucket: bucket, Key: keyOf(backup, file) }, body, signal);
    },
    async finish(backup, manifest, signal) {
      checkNames(backup);
      const { sdk, client } = await open();
      const where = { Bucket: bucket, Key: keyOf(backup, manifestFile) };
      await client.send(new sdk.PutObjectCommand({ ...where, Body: manifest }), { abortSignal: signal });
    },
    async list(signal) {
      const found = (await keysBelow(prefix, signal)).flatMap((key) => {
        const [name = "", file, ...more] = key.slice(prefix.length).split("/");
        return file === manifestFile && more.length === 0 && backupNameForm.test(name) ? [name] : [];
      });
      return found.sort();
    },
    async read(backup, file, signal) {
      checkNames(backup, file);
      const { sdk, client } = await open();
      try {
        const command = new sdk.GetObjectCommand({ Bucket: bucket, Key: keyOf(backup, file) });
        const { Body } = await client.send(command, { abortSignal: signal });
        return Body === undefined ? null : bytesOf(Body);
      } catch (error) {
        if (error instanceof sdk.NoSuchKey) return null;
        throw error;
      }
    },
    async remove(backup, signal) {
      checkNames(backup);
      const { sdk, client } = await open();
      const keys = await keysBelow(`${prefix}${backup}/`, signal);
      // The manifest first: what is left of a removal that broke off is no backup.
      const ordered = keys.sort(
        (a, b) => Number(b.endsWith(manifestFile)) - Number(a.endsWith(manifestFile)),
      );
      for (const Key of ordered) {
        await client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key }), { abortSignal: signal });
      }
    },
  };
}

interface Opened {
  readonly sdk: typeof import("@aws-sdk/client-s3");
  readonly client: import("@aws-sdk/client-s3").S3Client;
}

interface ObjectPlace {
  readonly Bucket: string;
  readonly Key: string;
}

// One request where it fits into a part; else parts, and what was sent goes when it does not come to an end.
async function upload(
  { sdk, client }: Opened,
  where: ObjectPlace,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<{ readonly sizeBytes: number }> {
  const abortSignal = signal;
  let sizeBytes = 0;
  let uploadId: string | undefined;
  const done: { ETag: string | undefined; PartNumber: number }[] = [];
  try {
    for await (const part of partsOf(body)) {
      signal.throwIfAborted();
      sizeBytes += part.bytes.length;
      if (uploadId === undefined && part.isLast) {
        await client.send(new sdk.PutObjectCommand({ ...where, Body: part.bytes }), { abortSignal });
        return { sizeBytes };
      }
      uploadId ??= (await client.send(new sdk.CreateMultipartUploadCommand(where), { abortSignal })).UploadId;
      const PartNumber = done.length + 1;
      const { ETag } = await client.send(
        new sdk.UploadPartCommand({ ...where, UploadId: uploadId, PartNumber, Body: part.bytes }),
        { abortSignal },
      );
      done.push({ ETag, PartNumber });
    }
    await client.send(
      new sdk.CompleteMultipartUploadCommand({
        ...where,
        UploadId: uploadId,
        MultipartUpload: { Parts: done },
      }),
      { abortSignal },
    );
    return { sizeBytes };
  } catch (error) {
    if (uploadId !== undefined) {
      await client
        .send(new sdk.AbortMultipartUploadCommand({ ...where, UploadId: uploadId }))
        .catch(() => undefined);
    }
    throw error;
  }
}

async function* partsOf(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly bytes: Uint8Array; readonly isLast: boolean }> {
  let kept: Uint8Array[] = [];
  let keptBytes = 0;
  for await (const chunk of body) {
    // What is full goes when more comes: so the last part is known to be the last.
    if (keptBytes >= partBytes) {
      yield { bytes: Buffer.concat(kept), isLast: false };
      [kept, keptBytes] = [[], 0];
    }
    kept.push(chunk);
    keptBytes += chunk.length;
  }
  yield { bytes: Buffer.concat(kept), isLast: true };
}

// In Node the SDK gives a stream of it; its type tells of browsers too.
async function* bytesOf(body: object): AsyncGenerator<Uint8Array> {
  if (!(Symbol.asyncIterator in body)) throw new BucketError("the answer of S3 has no bytes");
  yield* body as AsyncIterable<Uint8Array>;
}
