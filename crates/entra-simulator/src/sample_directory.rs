//! The demo's directory: small, fictional, and with one example of each relevant case.

use uuid::Uuid;

use crate::ids::{GroupId, ObjectId, TenantId};

use crate::directory::{Directory, GroupKind, Member, OtherKind, OtherObject, User};

impl Directory {
    /// "Fabrikam Research": five users and a guest, seven groups, one directory role, one administrative unit. IDs are
    /// constant.
    pub fn sample() -> Self {
        let mut d = Self::new("fabrikam-sim.example");
        d.tenant_id = TenantId::from(id(0x10, 1));
        d.client_id = id(0x20, 1).to_string();
        d.client_secret = "simulated-secret-not-for-production".into();
        d.service_principal_id = id(0x30, 1).to_string();

        let alice = d.person("Alice Arden", |p| known(p, 1, &["proxy_admin"]));
        let bob = d.person("Bob Birch", |p| known(p, 2, &["internal_user"]));
        let carol = d.person("Carol Cheng", |p| known(p, 3, &["org_admin"]));
        let dave = d.person("Dave Diallo", |p| known(p, 4, &[]));
        let _in_no_group = d.person("Erin Ellis", |p| known(p, 5, &[]));
        let gil = d.person("Gil Guest", |p| {
            known(p, 6, &[]);
            p.guest = true;
            p.upn = "gil_partner.example#EXT#@fabrikam-sim.example".into();
            p.email = Some("gil@partner.example".to_owned());
        });

        let evals = known_group(&mut d, 1, "Production LLM Evals", GroupKind::Security);
        let science = known_group(&mut d, 2, "Data Science", GroupKind::Security);
        let platform = known_group(&mut d, 3, "Platform Engineering", GroupKind::Microsoft365);
        let on_call = known_group(&mut d, 4, "Platform On-Call", GroupKind::Security);
        let all_staff = known_group(&mut d, 5, "All Staff", GroupKind::Dynamic);
        let pilots = known_group(&mut d, 6, "Future Pilots", GroupKind::Security);
        let analysts = known_group(&mut d, 7, "Prompt Analysts", GroupKind::Security);

        for (person, group) in [
            (alice, evals),
            (alice, science),
            (alice, platform),
            (bob, evals),
            (carol, science),
            (dave, on_call),
            (gil, analysts),
            (alice, all_staff),
            (bob, all_staff),
            (carol, all_staff),
            (dave, all_staff),
        ] {
            d.put(person, group);
        }
        // Dave is in the platform group only through a nested group, so its assignment does not apply to him.
        d.nest(on_call, platform);
        for group in [evals, science, platform, pilots] {
            d.assign(group);
        }
        // Graph lists the group twice: once for default access, once for a role.
        d.assign(analysts);
        d.assign_role(analysts, "internal_user_viewer");

        d.other_objects = vec![
            OtherObject {
                id: id(0x60, 1),
                // Entra's template of this role; the same ID in every tenant.
                kind: OtherKind::DirectoryRole {
                    template_id: Uuid::from_u128(0xfe93_0be7_5e62_47db_91af_98c3_a49a_38b1),
                },
                name: "User Administrator".to_owned(),
                members: vec![Member::User(alice)],
            },
            OtherObject {
                id: id(0x70, 1),
                kind: OtherKind::AdministrativeUnit,
                name: "EMEA Administrative Unit".to_owned(),
                members: vec![Member::User(alice), Member::User(bob)],
            },
        ];
        d
    }
}

/// `kk000000-0000-4000-8000-00000000000n`, which is easy to recognize in a table.
fn id(kind: u8, n: u64) -> Uuid {
    Uuid::from_fields(u32::from(kind) << 24, 0, 0x4000, &(0x8000_0000_0000_0000 | n).to_be_bytes())
}

fn known(person: &mut User, n: u64, app_roles: &[&str]) {
    person.id = ObjectId::from(id(0x40, n));
    person.app_roles = app_roles.iter().map(|role| (*role).to_owned()).collect();
}

fn known_group(directory: &mut Directory, n: u64, name: &str, kind: GroupKind) -> GroupId {
    directory.group_with(name, |group| {
        group.id = GroupId::from(id(0x50, n));
        group.kind = kind;
    })
}
