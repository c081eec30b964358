//! The table.

use super::Default::{Absent, Json, Required, Said};
use super::Field;
use super::Kind::{Flag, List, Number, Object, Old, Other, Refused, Text, Texts, Whole, Word};

/// More of anything than one cluster can have, and little enough to be counted in thousandths.
const MOST: f64 = 1e12;
const SECONDS: super::Kind = Whole(0, i32::MAX as u64);
const PORT: super::Kind = Whole(0, 65_535);
const NAME: super::Kind = Text("lower-case letters, digits and inner dashes");
const PROTOCOL: super::Kind = Word(&["tcp", "udp", "udp,tcp"]);
const ABSOLUTE: &str = "at least one character, without `..`";
const SECRETS: &str = "Feature secrets is not enabled. Enable with --enable_features secrets)";

const fn field(
    path: &'static str,
    kind: super::Kind,
    default: super::Default,
    meaning: &'static str,
) -> Field {
    Field { path, kind, default, meaning }
}

/// Every field, in the order in which Marathon shows them; old forms and refused fields behind those of their object.
pub const FIELDS: &[Field] = &[
    field(
        "id",
        Text("segments of lower-case letters, digits, inner dashes and inner dots, separated by slashes"),
        Required,
        "Path of the app among the others. A `PUT` or `PATCH` of `/v2/apps/{id}` takes it from there.",
    ),
    field(
        "acceptedResourceRoles",
        List("strings"),
        Absent,
        "Roles whose resources tasks may take: `*`, the app's role, or both. Without it, what Marathon is set to.",
    ),
    field(
        "args",
        List("strings"),
        Json("[]"),
        "Program and arguments, run without a shell. In an image: the arguments of its entry point, or the program if \
         it has none. Not together with `cmd`.",
    ),
    field(
        "backoffFactor",
        Number(1.0, f64::MAX),
        Json("1.15"),
        "Factor by which the delay before the next launch grows with each failure.",
    ),
    field("backoffSeconds", SECONDS, Json("1"), "Delay before the next launch after the first failure."),
    field(
        "cmd",
        Text("at least two characters"),
        Absent,
        "Command line for `/bin/sh -c`. Not together with `args`; in an image neither is needed.",
    ),
    field(
        "constraints",
        Other("array of `[field, operator]` or `[field, operator, value]`"),
        Json("[]"),
        "Where instances may be placed. `field` is `hostname`, `@region`, `@zone` or an agent's attribute; `operator` \
         is `UNIQUE`, `CLUSTER`, `GROUP_BY`, `LIKE`, `UNLIKE`, `MAX_PER` or `IS`.",
    ),
    field("container", Object, Absent, "Image, volumes and ports of the tasks."),
    field(
        "container.type",
        Word(&["DOCKER", "MESOS"]),
        Json("\"DOCKER\""),
        "Whose rules apply. Both run in the agent's own containers; there is no docker daemon.",
    ),
    field("container.docker", Object, Absent, "The image; `DOCKER` needs one."),
    field(
        "container.docker.forcePullImage",
        Flag,
        Json("false"),
        "Whether the registry is asked for the image even if the agent has it.",
    ),
    field(
        "container.docker.image",
        Text("at least one character, no spaces"),
        Required,
        "Name of the image, with tag or digest; or the path or URL of a tarball of it.",
    ),
    field(
        "container.docker.parameters",
        List("objects"),
        Json("[]"),
        "Options of `docker run` that have a meaning here; only for `DOCKER`. Others are refused by name.",
    ),
    field(
        "container.docker.parameters[].key",
        Text("at least one character"),
        Required,
        "Name of the option, without dashes.",
    ),
    field("container.docker.parameters[].value", Text(""), Required, "Value of the option."),
    field(
        "container.docker.privileged",
        Flag,
        Json("false"),
        "Whether tasks may do what the agent may; only for `DOCKER`.",
    ),
    field("container.docker.network", Old("networks"), Absent, "`HOST` or `BRIDGE`; only for `DOCKER`."),
    field(
        "container.docker.portMappings",
        Old("container.portMappings"),
        Absent,
        "The same in its old place; only for `DOCKER`.",
    ),
    field(
        "container.docker.credential",
        Refused("must be empty"),
        Absent,
        "Logins come from `docker.tar.gz` in `fetch`, or from the agent.",
    ),
    field("container.docker.pullConfig", Refused(SECRETS), Absent, "A login that is a secret."),
    field("container.linuxInfo", Object, Absent, "How far the kernel shuts tasks off; only for `MESOS`."),
    field("container.linuxInfo.seccomp", Object, Absent, "Which system calls tasks may make."),
    field(
        "container.linuxInfo.seccomp.unconfined",
        Flag,
        Json("false"),
        "Must be `true`: all. Without `seccomp` they may make those of the default profile.",
    ),
    field(
        "container.linuxInfo.seccomp.profileName",
        Refused(
            "seccomp profiles by name are not supported yet; supported is unconfined true, and the default profile \
             without linuxInfo.seccomp",
        ),
        Absent,
        "A profile by its name.",
    ),
    field("container.linuxInfo.ipcInfo", Object, Absent, "The shared memory of tasks."),
    field(
        "container.linuxInfo.ipcInfo.mode",
        Word(&["PRIVATE", "SHARE_PARENT"]),
        Required,
        "With whom it is shared. `SHARE_PARENT`, which is with the agent, is refused.",
    ),
    field(
        "container.linuxInfo.ipcInfo.shmSize",
        Whole(0, i32::MAX as u64),
        Absent,
        "Size of `/dev/shm` in MiB.",
    ),
    field(
        "container.volumes",
        List("objects"),
        Json("[]"),
        "Files and directories of the agent that tasks see.",
    ),
    field(
        "container.volumes[].containerPath",
        Text(ABSOLUTE),
        Required,
        "Where it is in the container; a relative path is below the sandbox.",
    ),
    field(
        "container.volumes[].hostPath",
        Text(ABSOLUTE),
        Required,
        "Where it is on the agent; a relative path is below the sandbox.",
    ),
    field("container.volumes[].mode", Word(&["RO", "RW"]), Required, "Whether tasks may write to it."),
    field(
        "container.volumes[].persistent",
        Refused("persistent volumes are not supported yet; supported are volumes with a hostPath"),
        Absent,
        "A volume that outlives the task.",
    ),
    field(
        "container.volumes[].external",
        Refused("external volumes are not supported yet; supported are volumes with a hostPath"),
        Absent,
        "A volume of a storage system.",
    ),
    field("container.volumes[].secret", Refused(SECRETS), Absent, "A secret as a file."),
    field(
        "container.portMappings",
        List("objects"),
        Said("one, named `default`, on a bridge"),
        "Ports of the container that ports of the agent lead to. They are dropped on the host's network, where they map \
         nothing.",
    ),
    field(
        "container.portMappings[].containerPort",
        PORT,
        Json("0"),
        "Port that tasks listen on; 0 is the same number as the host port.",
    ),
    field(
        "container.portMappings[].hostPort",
        PORT,
        Json("0"),
        "Port of the agent; 0 lets Marathon choose for each task.",
    ),
    field(
        "container.portMappings[].labels",
        Texts,
        Json("{}"),
        "Labels of the port, in the task's discovery information.",
    ),
    field("container.portMappings[].name", NAME, Absent, "Its name, unique in the app."),
    field("container.portMappings[].protocol", PROTOCOL, Json("\"tcp\""), "Which packets are let through."),
    field(
        "container.portMappings[].servicePort",
        PORT,
        Said("one that no other app has"),
        "Port that load balancers offer it at; 0 lets Marathon choose.",
    ),
    field(
        "container.portMappings[].networkNames",
        List("strings"),
        Json("[]"),
        "Container networks that it is for, of which there are none yet.",
    ),
    field("cpus", Number(0.001, MOST), Json("1.0"), "Cpus of one instance, in cores."),
    field(
        "dependencies",
        List("ids of apps and groups"),
        Json("[]"),
        "Apps and groups that are started before this one.",
    ),
    field("disk", Number(0.0, MOST), Json("0.0"), "Disk of one instance, in MB."),
    field(
        "env",
        Texts,
        Json("{}"),
        "Environment of the tasks. It wins over what Marathon and the image set.",
    ),
    field("env.*", Text("without NUL characters"), Required, "Value of the variable."),
    field(
        "env.*.secret",
        Refused("use of secret-references in the environment requires the secrets feature to be enabled"),
        Absent,
        "A secret as a variable.",
    ),
    field(
        "executor",
        Text("empty, or `//cmd`"),
        Json("\"\""),
        "The command executor, which is the only one.",
    ),
    field(
        "executorResources",
        Refused("resources of the executor cannot be chosen yet; supported is leaving this field out"),
        Absent,
        "Resources of the executor.",
    ),
    field("fetch", List("objects"), Json("[]"), "What is fetched into the sandbox before a task starts."),
    field(
        "fetch[].uri",
        Text("1 to 1024 characters, a URI"),
        Required,
        "Where it is fetched from: `http`, `https`, `file`, or a path on the agent.",
    ),
    field("fetch[].extract", Flag, Json("true"), "Whether an archive is unpacked: tar, gz, bz2, xz, zip."),
    field(
        "fetch[].executable",
        Flag,
        Json("false"),
        "Whether it is made executable; then it is not unpacked.",
    ),
    field("fetch[].cache", Flag, Json("false"), "Whether the agent keeps it for other tasks."),
    field(
        "fetch[].destPath",
        Text("1 to 1024 characters, a path that does not leave the sandbox"),
        Absent,
        "Where it goes in the sandbox, if not under the last part of its URI.",
    ),
    field(
        "fetch[].sha256",
        Text("64 hexadecimal digits"),
        Absent,
        "What its SHA-256 must be; a task whose artifact has another fails. Not in Marathon.",
    ),
    field("uris", Old("fetch"), Absent, "Array of URIs. What looks like an archive is unpacked."),
    field("healthChecks", List("objects"), Json("[]"), "How the health of tasks is found out."),
    field(
        "healthChecks[].command",
        Object,
        Absent,
        "What a `COMMAND` check runs beside the task; exit code 0 means healthy.",
    ),
    field("healthChecks[].command.value", Text(""), Required, "Command line for `/bin/sh -c`."),
    field(
        "healthChecks[].gracePeriodSeconds",
        SECONDS,
        Json("300"),
        "How long after its start failures of a task are ignored, until it was healthy for the first time.",
    ),
    field(
        "healthChecks[].ignoreHttp1xx",
        Flag,
        Json("false"),
        "Whether an HTTP answer of the 100s says nothing instead of being a failure.",
    ),
    field("healthChecks[].intervalSeconds", SECONDS, Json("60"), "Time between two checks."),
    field(
        "healthChecks[].maxConsecutiveFailures",
        SECONDS,
        Json("3"),
        "How many failures in a row end the task; 0 never ends it.",
    ),
    field(
        "healthChecks[].path",
        Text("no spaces or control characters"),
        Absent,
        "Path that an HTTP check gets; `/` if absent.",
    ),
    field("healthChecks[].port", PORT, Absent, "Fixed port to connect to, instead of one of the task's own."),
    field(
        "healthChecks[].portIndex",
        PORT,
        Said("0, unless `port` is given"),
        "Index of the task's port to connect to, among `portDefinitions` or `container.portMappings`.",
    ),
    field(
        "healthChecks[].protocol",
        Word(&["HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"]),
        Json("\"HTTP\""),
        "`HTTP` and `TCP` are checked by Marathon at the agent's address and host port. `MESOS_HTTP`, `MESOS_TCP` and \
         `COMMAND` are checked by the executor beside the task: at 127.0.0.1, in a network of its own at the container \
         port. Of these an app has at most one. The others are refused.",
    ),
    field(
        "healthChecks[].ipProtocol",
        Word(&["IPv4", "IPv6"]),
        Json("\"IPv4\""),
        "Which addresses are connected to. `IPv6` is refused.",
    ),
    field("healthChecks[].timeoutSeconds", SECONDS, Json("20"), "How long one check may take."),
    field(
        "healthChecks[].delaySeconds",
        SECONDS,
        Json("15"),
        "How long after the start of the task the first check waits.",
    ),
    field(
        "check",
        Refused("checks are not supported yet; supported are healthChecks"),
        Absent,
        "A check without consequences.",
    ),
    field("instances", Whole(0, 100_000), Json("1"), "How many instances are wanted."),
    field("labels", Texts, Json("{}"), "Labels of the app, given on to its tasks."),
    field("maxLaunchDelaySeconds", SECONDS, Json("300"), "Upper bound of the delay before the next launch."),
    field(
        "mem",
        Number(0.0, MOST),
        Json("128.0"),
        "Memory of one instance, in MB. Who takes more is killed.",
    ),
    field("gpus", SECONDS, Json("0"), "GPUs of one instance. More than 0 is refused until there are any."),
    field(
        "ipAddress",
        Old("networks"),
        Absent,
        "`networkName` must be `mesos-bridge`, and `discovery.ports` become port \
         mappings.",
    ),
    field("ipAddress.networkName", Text("at least one character"), Absent, "Name of the network."),
    field("ipAddress.labels", Texts, Json("{}"), "Labels of the network."),
    field("ipAddress.discovery", Object, Absent, "Ports of the tasks."),
    field("ipAddress.discovery.ports", List("objects"), Json("[]"), "Ports of the tasks."),
    field(
        "ipAddress.discovery.ports[].number",
        PORT,
        Json("0"),
        "As `container.portMappings[].containerPort`.",
    ),
    field("ipAddress.discovery.ports[].name", NAME, Required, "As `container.portMappings[].name`."),
    field(
        "ipAddress.discovery.ports[].protocol",
        PROTOCOL,
        Json("\"tcp\""),
        "As `container.portMappings[].protocol`.",
    ),
    field("ipAddress.discovery.ports[].labels", Texts, Json("{}"), "As `container.portMappings[].labels`."),
    field("networks", List("objects"), Json("[{\"mode\":\"host\"}]"), "The network of the tasks; one."),
    field(
        "networks[].name",
        Text("at most 63 lower-case letters, digits, inner dashes and underscores"),
        Absent,
        "Name of a container network.",
    ),
    field(
        "networks[].mode",
        Word(&["container", "container/bridge", "host"]),
        Json("\"container\""),
        "`host`: the agent's own network. `container/bridge`: a network of its own for each task, with `portMappings`. \
         `container`, a network by name, is refused until there are such.",
    ),
    field("networks[].labels", Texts, Json("{}"), "Labels of the task's network information."),
    field(
        "portDefinitions",
        List("objects"),
        Said("one, named `default`, on the host's network"),
        "Ports that each task gets on the host's network.",
    ),
    field(
        "portDefinitions[].port",
        PORT,
        Said("one that no other app has"),
        "Port that load balancers offer it at; with `requirePorts` also the host port. 0 lets Marathon choose.",
    ),
    field(
        "portDefinitions[].labels",
        Texts,
        Json("{}"),
        "Labels of the port, in the task's discovery information. `VIP_0` names a virtual address.",
    ),
    field(
        "portDefinitions[].name",
        NAME,
        Absent,
        "Its name, unique in the app; tasks find it as `PORT_<NAME>`.",
    ),
    field("portDefinitions[].protocol", PROTOCOL, Json("\"tcp\""), "What is spoken on it."),
    field("ports", Old("portDefinitions"), Absent, "Array of service ports."),
    field("ports[]", PORT, Required, "As `portDefinitions[].port`."),
    field(
        "readinessChecks",
        Refused("readiness checks are not supported yet; supported are an empty list, and healthChecks"),
        Absent,
        "When a new instance counts as ready.",
    ),
    field(
        "residency",
        Refused("persistent volumes are not supported yet; supported is leaving this field out"),
        Absent,
        "What becomes of persistent volumes.",
    ),
    field(
        "resourceLimits",
        Refused("limits above cpus and mem are not supported yet; supported is leaving this field out"),
        Absent,
        "How much tasks may take beyond what they asked for.",
    ),
    field(
        "requirePorts",
        Flag,
        Json("false"),
        "Whether host ports must be exactly the numbers in `portDefinitions`.",
    ),
    field("secrets", Refused(SECRETS), Absent, "Secrets of the app."),
    field(
        "taskKillGracePeriodSeconds",
        SECONDS,
        Absent,
        "How long a task may take to end after SIGTERM. Without it, what the agent is set to.",
    ),
    field(
        "upgradeStrategy",
        Object,
        Json("{\"maximumOverCapacity\":1.0,\"minimumHealthCapacity\":1.0}"),
        "How many instances may be missing and how many too many while the app is upgraded.",
    ),
    field(
        "upgradeStrategy.maximumOverCapacity",
        Number(0.0, 1.0),
        Required,
        "Share of the instances that may be started beyond the wanted number.",
    ),
    field(
        "upgradeStrategy.minimumHealthCapacity",
        Number(0.0, 1.0),
        Required,
        "Share of the instances that must stay healthy.",
    ),
    field(
        "user",
        Text("without NUL characters"),
        Absent,
        "User that tasks run as. Without it the image's, else what Marathon is set to.",
    ),
    field(
        "version",
        Text("a time like 2016-12-01T10:15:30.123Z"),
        Absent,
        "Version to go back to, in a `PUT` with nothing else but `id`.",
    ),
    field("versionInfo", Other("object"), Absent, "Shown, and passed over in requests."),
    field(
        "killSelection",
        Word(&["OLDEST_FIRST", "YOUNGEST_FIRST"]),
        Json("\"YOUNGEST_FIRST\""),
        "Which instances go first when there are too many.",
    ),
    field(
        "unreachableStrategy",
        Other("object, or `\"disabled\"`"),
        Json("{\"inactiveAfterSeconds\":0,\"expungeAfterSeconds\":0}"),
        "What happens to an instance whose agent is lost; `\"disabled\"` never gives it up.",
    ),
    field(
        "unreachableStrategy.inactiveAfterSeconds",
        Whole(0, i64::MAX as u64),
        Json("0"),
        "Seconds after which another instance is started in its place.",
    ),
    field(
        "unreachableStrategy.expungeAfterSeconds",
        Whole(0, i64::MAX as u64),
        Json("0"),
        "Seconds after which it is forgotten, and killed should it come back; not less than the other.",
    ),
    field("tty", Flag, Absent, "Whether tasks get a terminal. `true` is refused."),
    field(
        "role",
        Text("at least one character"),
        Said("Marathon's own"),
        "Role that the app's resources are taken as. Only Marathon's own is allowed.",
    ),
];

/// The fields that only a group has, in a `POST` or `PUT` of `/v2/groups`.
pub const GROUP_FIELDS: &[Field] = &[
    field(
        "apps",
        List("apps"),
        Absent,
        "The apps of the group; those that it had and that are not named are ended.",
    ),
    field(
        "groups",
        List("groups"),
        Absent,
        "The groups in the group; apps of those that it had and that are not named are ended.",
    ),
    field(
        "scaleBy",
        Number(0.0, 100_000.0),
        Absent,
        "Factor for the number of instances of every app of the group. With nothing else but `id`.",
    ),
    field("pods", Refused("pods are not supported yet; supported is an empty list"), Absent, "Pods."),
    field(
        "enforceRole",
        Refused("roles of groups are not supported yet; supported is false"),
        Absent,
        "Whether its apps have its role.",
    ),
];
