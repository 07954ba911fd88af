//! Faults that a test orders for coming calls: each rule counts down, and the first that fits a call applies.

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum FaultKind {
    /// 429 with this `retry_after`; the call does not act.
    TooManyRequests {
        /// Seconds.
        #[serde(rename = "retryAfter")]
        retry_after: u64,
    },
    /// An answer of this status, such as 502; the call does not act.
    Status {
        /// HTTP status.
        code: u16,
    },
    /// The connection closes before the call acts.
    DropBefore,
    /// The call acts, but its answer is lost; a download breaks off in the middle.
    DropAfter,
    /// The call acts, and its answer comes late.
    Slow {
        /// Delay.
        milliseconds: u64,
    },
    /// The call acts, and its answer never comes (of a download, the second half): whoever called waits until it gives up or
    /// dies. [`LocalTelegram::hanging`](super::LocalTelegram::hanging) tells when that has begun.
    Hang,
    /// A body that is no JSON, with status 200; the call does not act.
    Garbage,
}

/// Which calls it hits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Method in any case, `file` for downloads, or `*` for all methods.
    pub method: String,
    /// This many calls pass first.
    #[serde(default)]
    pub skip: u32,
    /// Then this many are hit.
    #[serde(default = "once")]
    pub times: u32,
    /// What goes wrong.
    pub fault: FaultKind,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// The next call of the method.
    pub fn next(method: &str, fault: FaultKind) -> Self {
        Self { method: method.to_owned(), skip: 0, times: 1, fault }
    }

    /// The next `times` calls instead of one.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Lets `skip` calls pass first.
    #[must_use]
    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }
}

/// Finds the fault for a call and counts down.
pub(super) fn take(faults: &mut Vec<Fault>, method: &str) -> Option<FaultKind> {
    let fits = |fault: &Fault| {
        fault.method.eq_ignore_ascii_case(method) || (fault.method == "*" && !method.eq_ignore_ascii_case("file"))
    };
    let mut hit = None;
    for fault in faults.iter_mut().filter(|fault| fits(fault)) {
        if fault.skip > 0 {
            fault.skip -= 1;
        } else if fault.times > 0 && hit.is_none() {
            fault.times -= 1;
            hit = Some(fault.fault.clone());
        }
    }
    faults.retain(|fault| fault.times > 0);
    hit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_skips_then_hits_then_ends() {
        let mut faults = vec![Fault::next("sendPhoto", FaultKind::DropAfter).after(1).times(2)];
        let hits: Vec<bool> = (0..5).map(|_| take(&mut faults, "SendPhoto").is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.is_empty());
    }

    #[test]
    fn a_star_is_every_method_but_no_download() {
        let mut faults = vec![Fault::next("*", FaultKind::DropBefore)];
        assert_eq!(take(&mut faults, "file"), None);
        assert_eq!(take(&mut faults, "getMe"), Some(FaultKind::DropBefore));
    }
}
