//! Which roles the stacks of a namespace may have taken. Without that, whoever may create a stack in some namespace could have the
//! operator act as any role that trusts it, those meant for other namespaces included.

use std::str::FromStr;

/// Stacks of a namespace may name a role. Each is a name, or the beginning of names, with a star at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedRole {
    namespace: String,
    role: String,
}

impl FromStr for AllowedRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} allows no role; write NAMESPACE=ARN, such as team-a=arn:aws:iam::123456789012:role/team-a-*; a star \
                 stands only at the end of either"
            )
        };
        // A star within an ARN could stand for the account, and whoever names the stack's role could choose one.
        let names = |part: &str| part.find('*').map_or(!part.is_empty(), |at| at == part.len() - 1);
        let (namespace, role) = text.split_once('=').ok_or_else(wrong)?;
        let is_arn = role == "*" || role.starts_with("arn:");
        if !(names(namespace) && names(role) && is_arn) {
            return Err(wrong());
        }
        Ok(Self { namespace: namespace.to_owned(), role: role.to_owned() })
    }
}

/// Why a role is not taken for the stacks of a namespace, and how to mend that; nothing where it is allowed.
pub(super) fn refusal(allowed: &[AllowedRole], namespace: &str, role: &str) -> Option<String> {
    let fits = |name: &str, text: &str| name.strip_suffix('*').map_or(name == text, |start| text.starts_with(start));
    let refused = !allowed.iter().any(|a| fits(&a.namespace, namespace) && fits(&a.role, role));
    refused.then(|| {
        format!(
            "the operator may not take the role {role} for stacks of the namespace {namespace}; name another one in \
             spec.assumeRole.arn, or have the operator started with --allow-role {namespace}={role} (aws.allowedRoles in the \
             chart's values)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_for_the_namespaces_that_it_is_allowed_to_and_for_no_other() {
        let refused = |allowed: &[&str], namespace: &str, role: &str| {
            let allowed: Vec<_> = allowed.iter().map(|a| a.parse().unwrap()).collect();
            refusal(&allowed, namespace, &format!("arn:aws:iam::123456789012:role/{role}")).is_some()
        };
        assert!(refused(&[], "a", "x"), "nothing is allowed unasked");
        let exact = ["a=arn:aws:iam::123456789012:role/x"];
        assert!(!refused(&exact, "a", "x"));
        assert!(refused(&exact, "a", "xy") && refused(&exact, "ab", "x") && refused(&exact, "b", "x"));
        let starts = ["a=arn:aws:iam::123456789012:role/a/*", "b=arn:aws:iam::210987654321:role/*"];
        assert!(!refused(&starts, "a", "a/x"));
        assert!(refused(&starts, "a", "b/x") && refused(&starts, "b", "x"));
        assert!(!refused(&["team-*=*"], "team-a", "x") && refused(&["team-*=*"], "ops", "x"));
        assert!(!refused(&["*=*"], "a", "x"));
    }

    #[test]
    fn what_allows_no_role_is_refused() {
        for bad in ["", "a", "a=", "=arn:aws:iam::1:role/x", "a=x", "a=arn:aws:iam::*:role/x", "*a=*", "a=**"] {
            assert!(bad.parse::<AllowedRole>().is_err(), "{bad}");
        }
    }
}
