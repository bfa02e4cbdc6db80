import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const how = process.argv[2];
const t0 = performance.now();
for (const m of process.argv.slice(3)) how === "require" ? require(m) : await import(m);
const mb=(x)=>Math.round(x/1048576);
const m=process.memoryUsage();
console.log(how, process.argv.slice(3).join(" "), "rss", mb(m.rss), "used", mb(m.heapUsed), "ms", Math.round(performance.now()-t0), "cpu", Math.round(process.cpuUsage().user/1000), "hwm", /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status","utf8"))[1]/1024|0);
