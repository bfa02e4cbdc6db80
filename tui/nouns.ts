import type { Cli } from "./command.ts";

/** What registers commands; some need to see the command line. */
export type Register = (cli: Cli, argv: readonly string[]) => void | Promise<void>;

/** A command at the first level, as the list of commands shows it. Its own file is loaded when it is asked for. */
export interface Noun {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** The same text as the command's own. */
  readonly description: string;
  /** Nouns of one file have the same. */
  readonly load: () => Promise<Register>;
}

const queues = (): Promise<Register> => import("./commands/queue.ts").then((one) => one.registerQueues);

const alerts = (): Promise<Register> => import("./commands/alert.ts").then((one) => one.registerAlerts);
const apply = (): Promise<Register> => import("./commands/apply.ts").then((one) => one.registerApply);

const login = (): Promise<Register> => import("./commands/login.ts").then((one) => one.registerLogin);

/** Every noun, in the order of the help, below its heading. */
export const nouns: readonly (readonly [heading: string, nouns: readonly Noun[]])[] = [
  [
    "Run:",
    [
      {
        name: "dev",
        description: "Run a coordinator and a worker in one command, to try things and to develop against.",
        load: () => import("./commands/dev.ts").then((one) => one.registerDev),
      },
      {
        name: "server",
        description: "Run a coordinator: on an embedded Postgres, or on the one of DATABASE_URL.",
        load: () => import("./commands/server.ts").then((one) => one.registerServer),
      },
    ],
  ],
  [
    "Work:",
    [
      {
        name: "job",
        aliases: ["jobs"],
        description: "Submit, watch and steer jobs.",
        load: () => import("./commands/job.ts").then((one) => one.registerJob),
      },
      {
        name: "batch",
        aliases: ["batches"],
        description: "Follow jobs that were submitted together (muster job submit -f).",
        load: () => import("./commands/batch.ts").then((one) => one.registerBatch),
      },
      {
        name: "dlq",
        aliases: ["dead-letters"],
        description: "Decide on dead letters: jobs whose run ended without success.",
        load: () => import("./commands/dlq.ts").then((one) => one.registerDlq),
      },
      {
        name: "lease",
        aliases: ["leases"],
        description: "See which worker holds which job, and take jobs back.",
        load: () => import("./commands/lease.ts").then((one) => one.registerLease),
      },
      {
        name: "worker",
        aliases: ["workers"],
        description: "Run and look after workers.",
        load: () => import("./commands/worker.ts").then((one) => one.registerWorker),
      },
      {
        name: "enrolment",
        aliases: ["enrolments"],
        description: "Let machines become workers: by tokens, or by the people who bring them.",
        load: () => import("./commands/enrolment.ts").then((one) => one.registerEnrolment),
      },
      {
        name: "work",
        description: "Look for work without being a worker.",
        load: () => import("./commands/work.ts").then((one) => one.registerWork),
      },
      {
        name: "queue",
        aliases: ["queues"],
        description: "Pause, limit and look at queues: every job is in one.",
        load: queues,
      },
      {
        name: "kind",
        aliases: ["kinds"],
        description: "Pause and limit kinds of jobs, whatever queue they are in.",
        load: queues,
      },
      {
        name: "pool",
        aliases: ["pools"],
        description: "Pause and limit pools: quotas of providers that jobs draw on.",
        load: queues,
      },
      {
        name: "schedule",
        aliases: ["schedules", "cron"],
        description: "Keep schedules: what creates jobs by cron.",
        load: () => import("./commands/schedule.ts").then((one) => one.registerSchedule),
      },
      {
        name: "template",
        aliases: ["templates"],
        description: "Keep templates, jobs with parameters, and run them.",
        load: () => import("./commands/template.ts").then((one) => one.registerTemplate),
      },
      {
        name: "skill",
        aliases: ["skills"],
        description: "Keep documents of skills: Markdown that is handed to what does the work.",
        load: () => import("./commands/skill.ts").then((one) => one.registerSkill),
      },
      {
        name: "apply",
        description:
          "Make it as files say: schedules, templates, skills, queues, projects, alerts and channels, in YAML.",
        load: apply,
      },
      { name: "diff", description: "Show what apply would change. Nothing is changed.", load: apply },
      {
        name: "export",
        description:
          "Print what there is as files for apply: everything, or some kinds. Secrets are left out.",
        load: apply,
      },
      {
        name: "import",
        description: "Take over the files of a small job runner: its scheduler.yaml and alerts.yaml.",
        load: () => import("./commands/import.ts").then((one) => one.registerImport),
      },
      {
        name: "settings",
        description:
          "Read and change what jobs get that say nothing themselves: of the org, a queue or a kind.",
        load: () => import("./commands/settings.ts").then((one) => one.registerSettings),
      },
      {
        name: "project",
        aliases: ["projects"],
        description: "Keep projects: repositories, with a cap on open pull requests.",
        load: () => import("./commands/project.ts").then((one) => one.registerProject),
      },
      {
        name: "session",
        aliases: ["sessions"],
        description: "Look after the agent sessions that workers publish.",
        load: () => import("./commands/session.ts").then((one) => one.registerSession),
      },
      {
        name: "artifact",
        aliases: ["artifacts"],
        description: "Fetch files that jobs produced.",
        load: () => import("./commands/artifact.ts").then((one) => one.registerArtifact),
      },
    ],
  ],
  [
    "Look:",
    [
      {
        name: "status",
        description:
          "Show the whole at a glance: coordinators, workers, jobs by state, flow, pull requests by project.",
        load: () => import("./commands/status.ts").then((one) => one.registerStatus),
      },
      {
        name: "stats",
        description: "See how attempts ended, how long they waited and ran, and who did them.",
        load: () => import("./commands/stats.ts").then((one) => one.registerStats),
      },
      {
        name: "profile",
        description:
          "See where the time of a job went, or of all jobs of a kind, by the spans that handlers mark.",
        load: () => import("./commands/profile.ts").then((one) => one.registerProfile),
      },
      {
        name: "attention",
        description: "See what needs a person.",
        load: () => import("./commands/attention.ts").then((one) => one.registerAttention),
      },
      {
        name: "alert",
        aliases: ["alerts"],
        description: "Say when to tell whom that something is wrong, and look at what was told.",
        load: alerts,
      },
      {
        name: "channel",
        aliases: ["channels"],
        description: "Keep the channels that alerts go to: Slack, Discord, e-mail, webhooks.",
        load: alerts,
      },
      {
        name: "top",
        aliases: ["ui", "tui"],
        description:
          "Watch workers, flow and running jobs on one live screen. Where output is no terminal: one snapshot.",
        load: () => import("./commands/top.ts").then((one) => one.registerTop),
      },
      {
        name: "find",
        description: "Find what a part of an id or a name may mean. Exits with 3 when it means nothing.",
        load: () => import("./commands/find.ts").then((one) => one.registerFind),
      },
      {
        name: "events",
        aliases: ["event"],
        description: "See what happens, event by event, as other services are told.",
        load: () => import("./commands/events.ts").then((one) => one.registerEvents),
      },
      {
        name: "webhook",
        aliases: ["webhooks"],
        description: "Send events to other services: signed, tried again for a day, replayed at will.",
        load: () => import("./commands/webhook.ts").then((one) => one.registerWebhook),
      },
      {
        name: "audit",
        description: "See who changed what, when and why.",
        load: () => import("./commands/audit.ts").then((one) => one.registerAudit),
      },
      {
        name: "whoami",
        description: "Show who you are to the coordinator: the org, the key, and what it allows.",
        load: () => import("./commands/whoami.ts").then((one) => one.registerWhoAmI),
      },
      {
        name: "key",
        aliases: ["keys"],
        description: "Make and revoke API keys; see those of workers.",
        load: () => import("./commands/key.ts").then((one) => one.registerKey),
      },
      {
        name: "org",
        aliases: ["orgs"],
        description: "Keep orgs, the tenants of an installation: with a platform key.",
        load: () => import("./commands/org.ts").then((one) => one.registerOrg),
      },
      {
        name: "person",
        aliases: ["people"],
        description: "Keep people: accounts, invitations, and what each may do in the org.",
        load: () => import("./commands/person.ts").then((one) => one.registerPerson),
      },
      {
        name: "system",
        description: "Show the control plane itself: coordinators, database, and the one that answers.",
        load: () => import("./commands/system.ts").then((one) => one.registerSystem),
      },
      {
        name: "backup",
        aliases: ["backups"],
        description: "Keep the database in files, look after them, and restore from them.",
        load: () => import("./commands/backup.ts").then((one) => one.registerBackup),
      },
      {
        name: "doctor",
        description: "Check what Muster needs, thing by thing, each with what to do about it.",
        load: () => import("./commands/doctor.ts").then((one) => one.registerDoctor),
      },
    ],
  ],
  [
    "Set up:",
    [
      {
        name: "login",
        description: "Keep a coordinator's address and a key as a context.",
        load: login,
      },
      {
        name: "logout",
        description: "Forget the key of a context.",
        load: login,
      },
      {
        name: "password",
        description: "Change or reset your password.",
        load: () => import("./commands/password.ts").then((one) => one.registerPassword),
      },
      {
        name: "context",
        aliases: ["contexts"],
        description: "Keep several coordinators apart: a name for each address and key.",
        load: () => import("./commands/context.ts").then((one) => one.registerContext),
      },
      {
        name: "config",
        description: "Read and change the settings of this program.",
        load: () => import("./commands/config.ts").then((one) => one.registerConfig),
      },
      {
        name: "completion",
        description: "Print what a shell needs to complete commands, options and ids.",
        load: () => import("./commands/completion.ts").then((one) => one.registerCompletion),
      },
    ],
  ],
  [
    "More:",
    [
      {
        name: "rpc",
        description: "Call any method of the API, JSON in and out.",
        load: () => import("./commands/rpc.ts").then((one) => one.registerRpc),
      },
      {
        name: "proto",
        description: "Get the API for other languages.",
        load: () => import("./commands/proto.ts").then((one) => one.registerProto),
      },
      {
        name: "version",
        description: "Show the version of this program.",
        load: () => import("./commands/version.ts").then((one) => one.registerVersion),
      },
      {
        name: "help",
        description: "Show help on a command or a topic.",
        load: () => import("./commands/help.ts").then((one) => one.registerHelp),
      },
      {
        name: "docs",
        description: "Print the topics of the help, one or all.",
        load: () => import("./commands/help.ts").then((one) => one.registerDocs),
      },
    ],
  ],
];
