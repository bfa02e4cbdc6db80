/** What is wrong with a password that somebody wants to have: nothing, or one violation. It is in no message. */
export function passwordViolations(
  field: string,
  password: string,
  email: string,
): { readonly field: string; readonly message: string }[] {
  // Counting code points of a text that is far too long would be work for nothing.
  const length = password.length > 2 * longest ? password.length : [...password].length;
  if (password === "") return [{ field, message: "is required" }];
  if (length < shortest || length > longest) {
    return [{ field, message: `must have ${shortest} to 1,024 characters` }];
  }
  if (!password.isWellFormed()) return [{ field, message: "must be well-formed Unicode" }];
  const folded = password.normalize("NFKC").toLowerCase();
  if (folded === email || folded === email.split("@", 1)[0]) {
    return [{ field, message: "must not be the e-mail" }];
  }
  if (new Set(folded).size < 5 || worst.has(folded) || isRepeated(folded)) {
    return [{ field, message: "is one of the first that anybody would try" }];
  }
  return [];
}

const shortest = 12;
const longest = 1_024;

// A word of up to four characters again and again, or one of the worst that is too short alone.
function isRepeated(folded: string): boolean {
  const half = /^(.{5,})\1+$/u.exec(folded)?.[1];
  return /^(.{1,4})\1+.{0,3}$/u.test(folded) || (half !== undefined && parts.has(half));
}

const parts = new Set(["qwerty", "password", "letmein", "welcome", "admin123", "abc123", "muster"]);

// The most frequent of 12 and more characters in what was stolen elsewhere.
const worst = new Set([
  ..."passwordpassword password1234 password12345 password123456 password123! password1234! passw0rd1234".split(
    " ",
  ),
  ..."123456789012 1234567890123 12345678901234 123456789012345 1234567890123456 012345678910".split(" "),
  ..."0123456789ab 123456789abc abcdefghijkl abcdefghijklm abcd12345678 abc123456789 a123456789012".split(
    " ",
  ),
  ..."qwertyuiop12 qwertyuiop123 qwertyuiop1234 qwertyuiopas qwertyuiop[] qwertyuiop[]\\ qwertyuiopasdf".split(
    " ",
  ),
  ..."qwertyuiopasdfghjkl qwertyuiopasdfghjklzxcvbnm qwerty123456 qwerty1234567 qwerty12345678".split(" "),
  ..."1qaz2wsx3edc 1qaz2wsx3edc4rfv 1q2w3e4r5t6y 1q2w3e4r5t6y7u 1q2w3e4r5t6y7u8i zaq12wsxcde3".split(" "),
  ..."asdfghjkl123 asdfghjkl;'# zxcvbnm12345 iloveyou1234 iloveyouiloveyou letmein12345".split(" "),
  ..."welcome12345 welcome123456 administrator administrator1 administrator123 changemechangeme".split(" "),
  ..."changeme1234 changeme12345 default12345 secret123456 correcthorsebatterystaple 987654321098".split(" "),
  ..."football1234 baseball1234 sunshine1234 princess1234 starwars1234 superman1234 michelle1234".split(" "),
  ..."trustno1trustno1 unknownunknown manchesterunited liverpool123 chelsea12345 dragon123456".split(" "),
  ..."muster123456 mustermuster musterpassword monkey123456 master123456 shadow123456 summer202420".split(
    " ",
  ),
]);
