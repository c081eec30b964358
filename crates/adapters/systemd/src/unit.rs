/// The properties that [`Unit`] is read from.
pub(crate) const PROPERTIES: &str =
    "Id,LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,MainPID,UnitFileState,NRestarts";

/// A unit as `systemctl show` tells it, in systemd's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its name, such as `dcos-marathon.service`.
    pub name: String,
    /// `loaded`, `not-found`, `bad-setting`, `error`, `masked`.
    pub load: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    /// More exact than `active`, by the type of unit: `running`, `exited`, `auto-restart`.
    pub sub: String,
    /// How its last run ended: `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`.
    pub result: String,
    /// What became of the last main process, if it has ended: `exited 1`, `killed 9`.
    pub ended: Option<String>,
    /// The main process, as the machine itself counts.
    pub main_pid: Option<u32>,
    /// `enabled`, `disabled`, `static`, `linked`; empty if there is no unit file.
    pub file: String,
    /// How often systemd has restarted it by itself since it was started.
    pub restarts: u32,
}

impl Unit {
    /// Reads what `systemctl show` prints of one or more units, parted by blank lines.
    pub(crate) fn read(shown: &str) -> Vec<Unit> {
        shown.split("\n\n").filter_map(Unit::read_one).collect()
    }

    fn read_one(shown: &str) -> Option<Unit> {
        let value = |key: &str| {
            let mut values = shown.lines().filter_map(|line| line.split_once('='));
            values.find(|(found, _)| *found == key).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let name = value("Id");
        if name.is_empty() {
            return None;
        }
        // The numbers of waitid(2)'s si_code.
        let ended = match value("ExecMainCode").as_str() {
            "1" => Some(format!("exited {}", value("ExecMainStatus"))),
            "2" => Some(format!("killed {}", value("ExecMainStatus"))),
            "3" => Some(format!("dumped {}", value("ExecMainStatus"))),
            _ => None,
        };
        Some(Unit {
            name,
            load: value("LoadState"),
            active: value("ActiveState"),
            sub: value("SubState"),
            result: value("Result"),
            ended,
            main_pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
            file: value("UnitFileState"),
            restarts: value("NRestarts").parse().unwrap_or_default(),
        })
    }

    /// Whether it does its work: started and not ended with a failure.
    pub fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }

    /// Whether it has failed: for good, or to be tried again by itself, or because systemd cannot
    /// read it.
    pub fn has_failed(&self) -> bool {
        self.active == "failed"
            || self.sub == "auto-restart"
            || matches!(self.load.as_str(), "not-found" | "bad-setting" | "error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Id=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\
        Result=success\nExecMainCode=0\nExecMainStatus=0\nMainPID=77\nUnitFileState=enabled\nNRestarts=2\n\
        \nId=b.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\n\
        ExecMainCode=1\nExecMainStatus=3\nMainPID=0\nUnitFileState=static\nNRestarts=0\n\
        \nId=c.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n\
        \nId=d.target\nActiveState=active\nSubState=active\nLoadState=loaded\n";

    #[test]
    fn units_are_read() {
        let units = Unit::read(SHOWN);
        let check = |index: usize, name, pid, ended: Option<&str>, active, failed| {
            let unit: &Unit = &units[index];
            assert_eq!(unit.name, name);
            assert_eq!((unit.main_pid, unit.ended.as_deref()), (pid, ended), "{name}");
            assert_eq!((unit.is_active(), unit.has_failed()), (active, failed), "{name}");
        };
        check(0, "a.service", Some(77), None, true, false);
        check(1, "b.service", None, Some("exited 3"), false, true);
        check(2, "c.service", None, None, false, true);
        check(3, "d.target", None, None, true, false);
        assert_eq!((units.len(), units[0].restarts, units[1].file.as_str()), (4, 2, "static"));
        assert_eq!(Unit::read(""), []);
    }
}
