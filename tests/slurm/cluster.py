"""A Slurm cluster on this machine: a controller and nodes, each in a process namespace of its own so that it can lose its power.

All state lies in one folder, everything listens on the loopback alone, nothing under /etc is read. Needs root, and Debian's packages
`slurm-wlm` and `munge`.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "unshare")


def missing():
    """Programs that a cluster needs and that are not there; root's rights count as one."""
    needed = [program for program in PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0:
        needed.append("root")
    elif not needed and subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode:
        needed.append("the right to make process namespaces")
    return needed


class Cluster:
    """`with Cluster(folder) as cluster:` is up inside, and gone after."""

    def __init__(self, folder, nodes=3, cpus=2, port=17640):
        self.folder, self.nodes, self.cpus, self.port = Path(folder), nodes, cpus, port
        self.environment = dict(os.environ, SLURM_CONF=str(self.folder / "slurm.conf"))
        self.daemons = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        for name in ("state", "spool", "log", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        munge = self.folder / "munge"
        munge.mkdir(mode=0o700, exist_ok=True)
        key = munge / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        (self.folder / "slurm.conf").write_text(self.configuration())
        self.launch("munged", ["munged", "--foreground", "--force", f"--socket={self.socket()}", f"--key-file={key}",
                               f"--pid-file={munge / 'pid'}", f"--seed-file={munge / 'seed'}",
                               f"--log-file={munge / 'log'}"])
        self.wait("munged's socket", lambda: Path(self.socket()).exists())
        self.start_controller()
        for number in range(1, self.nodes + 1):
            self.start_node(f"node{number}")
        self.wait("idle nodes", lambda: self.idle() == self.nodes)

    def configuration(self):
        folder, last = self.folder, self.nodes
        ports = f"[{self.port + 1}-{self.port + last}]"
        return "\n".join([
            "ClusterName=privynet",
            "SlurmctldHost=localhost(127.0.0.1)",
            f"SlurmctldPort={self.port}",
            "SlurmUser=root",
            # A requeued job waits for its credential to expire.
            f"AuthInfo=socket={self.socket()},cred_expire=5",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/spool/%n",
            f"SlurmctldPidFile={folder}/run/controller.pid",
            f"SlurmdPidFile={folder}/run/%n.pid",
            f"SlurmctldLogFile={folder}/log/controller.log",
            f"SlurmdLogFile={folder}/log/%n.log",
            "MailProg=/bin/true",
            # No control groups: a container may have none.
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "DefMemPerCPU=100",
            "SlurmdParameters=config_overrides",
            "SchedulerParameters=sched_interval=2,bf_interval=1,batch_sched_delay=0",
            "ReturnToService=2",
            "SlurmdTimeout=4",
            "MessageTimeout=2",
            "KillWait=2",
            "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
            f"NodeName=node[1-{last}] NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports} CPUs={self.cpus} RealMemory=4000",
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
            "",
        ])

    def socket(self):
        return str(self.folder / "munge" / "socket")

    def launch(self, name, command):
        log = open(self.folder / "log" / f"{name}.out", "ab")
        self.daemons[name] = subprocess.Popen(command, env=self.environment, start_new_session=True, cwd=self.folder,
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start_controller(self):
        self.launch("controller", ["slurmctld", "-D"])
        self.wait("the controller", lambda: self.run("scontrol", "ping").stdout.count("UP"))

    def kill_controller(self):
        self.kill("controller")

    def start_node(self, name):
        # The namespace's first process: with it everything that the node runs is killed.
        self.launch(name, ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL", "sh", "-c",
                           f"slurmd -D -N {name} & wait"])
        # Undoes what the controller concluded from its absence.
        self.run("scontrol", "update", f"nodename={name}", "state=resume")

    def crash_node(self, name):
        """The node loses its power, its jobs with it."""
        self.kill(name)

    def kill(self, name):
        daemon = self.daemons.pop(name, None)
        if daemon:
            daemon.kill()
            daemon.wait()

    def stop(self):
        for name in sorted(self.daemons, key=lambda name: name == "munged"):
            self.kill(name)

    def run(self, *command):
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=60)

    def idle(self):
        return self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").stdout.count("node")

    def tasks(self, states="pending,running"):
        """(job id, array id, task, state, node) of each task in these states."""
        answer = self.run("squeue", "-h", "-r", "-t", states, "-O", "JobID:|,ArrayJobID:|,ArrayTaskID:|,State:|,NodeList:|")
        rows = [line.strip().split("|") for line in answer.stdout.splitlines() if line.count("|") >= 4]
        return [tuple(field.strip() for field in row[:5]) for row in rows]

    def running(self):
        return [row for row in self.tasks("running") if row[4]]

    @staticmethod
    def wait(what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s for {what}")
            time.sleep(0.1)


def send(process, number):
    """A signal to a process that may have ended."""
    if process.poll() is None:
        process.send_signal(number)


TERM, KILL, INT = signal.SIGTERM, signal.SIGKILL, signal.SIGINT
