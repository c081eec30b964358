use std::fmt;

use api_pkgpanda::{PackageId, Role};

/// Why packages cannot be activated together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// Two versions of one package.
    #[error("package {name} is there more than once: {}; a set has one version of each", list(.ids))]
    RepeatedName {
        /// The name.
        name: String,
        /// All ids of that name.
        ids: Vec<PackageId>,
    },
    /// A group, but no user to be in it.
    #[error("package {id}: `group` is {group:?}, but there is no `username`, which it needs")]
    GroupWithoutUser {
        /// Whose.
        id: PackageId,
        /// The group.
        group: String,
    },
    /// A user's name that breaks its rule.
    #[error("package {id}: `username` is {username:?}, allowed is dcos_ and letters a-z, digits and _")]
    Username {
        /// Whose.
        id: PackageId,
        /// What was found.
        username: String,
    },
    /// A group's name that breaks its rule.
    #[error(
        "package {id}: `group` is {group:?}, allowed are letters a-z, digits, _ and - (a letter or _ first)"
    )]
    Group {
        /// Whose.
        id: PackageId,
        /// What was found.
        group: String,
    },
    /// One user is to be in different groups.
    #[error("user {user} is to be in group {first_group} by package {first}, in {second_group} by {second}")]
    GroupsOfUser {
        /// The user.
        user: String,
        /// A package that names the user.
        first: PackageId,
        /// Its group.
        first_group: String,
        /// Another one.
        second: PackageId,
        /// Its group.
        second_group: String,
    },
    /// A requirement that is an id.
    #[error(
        "package {id} requires {requirement:?}, which is an exact id: name the package alone, or with its variant"
    )]
    RequiresId {
        /// Who requires.
        id: PackageId,
        /// What.
        requirement: String,
    },
    /// A requirement that nothing in the set meets.
    #[error("package {id} requires {name}{}, which is not in the set{}", of_variant(.variant), instead(.found))]
    Requires {
        /// Who requires.
        id: PackageId,
        /// The package that is required.
        name: String,
        /// Its variant.
        variant: Option<String>,
        /// The variant that is there instead, if the package is.
        found: Option<Option<String>>,
    },
    /// A variable that pkgpanda sets.
    #[error("package {id} sets the variable {variable}, which is reserved")]
    ReservedVariable {
        /// Who sets it.
        id: PackageId,
        /// Which.
        variable: String,
    },
    /// A variable of two packages.
    #[error("packages {first} and {second} both set the variable {variable}")]
    RepeatedVariable {
        /// Which.
        variable: String,
        /// Who sets it.
        first: PackageId,
        /// Who else.
        second: PackageId,
    },
    /// A kernel setting of two values.
    #[error("the kernel setting {key} is {first_value} by package {first}, {second_value} by {second}")]
    Sysctl {
        /// Which.
        key: String,
        /// Who sets it.
        first: PackageId,
        /// To what.
        first_value: String,
        /// Who else.
        second: PackageId,
        /// To what.
        second_value: String,
    },
    /// Kernel settings of a package without a service that needs them.
    #[error("package {id} has kernel settings (`sysctl`), but no *.service file that they could be for")]
    SysctlWithoutService {
        /// Whose.
        id: PackageId,
    },
    /// One file of two packages.
    #[error("{path} is brought by two packages: {first} and {second}")]
    SameFile {
        /// The path below the root.
        path: String,
        /// Who brings it.
        first: PackageId,
        /// Who else.
        second: PackageId,
    },
    /// One file of one package twice, as the host has more than one role.
    #[error("{path} is brought twice by {id}, as the host has the roles {}", list(.roles))]
    SameFileOfRoles {
        /// The path below the root.
        path: String,
        /// Who brings it.
        id: PackageId,
        /// The roles of the host.
        roles: Vec<Role>,
    },
    /// A directory here, a file there.
    #[error("{path} is a directory in package {directory}, a file or link in {file}")]
    FileAndDirectory {
        /// The path below the root.
        path: String,
        /// Who has it as a directory.
        directory: PackageId,
        /// Who has not.
        file: PackageId,
    },
    /// Something that is no directory under the name of one that is merged.
    #[error("package {id}: {path} is no directory")]
    NoDirectory {
        /// Whose.
        id: PackageId,
        /// The path in the package.
        path: String,
    },
    /// A path that pkgpanda itself writes.
    #[error("package {id} brings {path}, which pkgpanda writes itself")]
    ReservedFile {
        /// Who brings it.
        id: PackageId,
        /// The path below the root.
        path: String,
    },
    /// A unit that sets the host up.
    #[error("package {id} brings the unit {unit}, which is reserved")]
    ReservedUnit {
        /// Who brings it.
        id: PackageId,
        /// Which.
        unit: String,
    },
}

fn list<T: fmt::Display>(of: &[T]) -> String {
    of.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn of_variant(variant: &Option<String>) -> String {
    variant.as_ref().map(|variant| format!(" in variant {variant}")).unwrap_or_default()
}

fn instead(found: &Option<Option<String>>) -> String {
    match found {
        None => String::new(),
        Some(None) => " (there it is in the default variant)".to_owned(),
        Some(Some(variant)) => format!(" (there it is in variant {variant})"),
    }
}
