//! `entraway explain`: why a user is in a team, or is not.

use entraway::domain::StoreKind;
use rstest::rstest;

use super::program::{CONFIG, Folder, environment, run};
use crate::support::{LiteLlm, Native, World};

#[rstest]
#[tokio::test]
async fn explain_command_answers_from_the_database_alone(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, evals) = world.alice();
    let staff = world.simulator.edit(|directory| {
        let staff = directory.group("All Staff");
        directory.put(alice, staff);
        staff
    });
    world.sign_in(&world.service().await, alice).await;
    let folder = Folder::new();
    let kind = if store == LiteLlm { "store: litellm\n" } else { "" };
    let config = folder.file("entraway.yaml", &format!("{CONFIG}{kind}"));
    let env = environment(&world);
    let entraway =
        async |words: &[&str]| run(&folder, &[&["explain", "--config", &config], words].concat(), &env).await;
    world.simulator.clear_requests();
    let before = world.versions().await;

    let id = alice.to_string();
    let told = entraway(&["--user", &id.to_uppercase()]).await;
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    for line in [
        "Alice Arden\n",
        &format!("  {:<10} {id}\n", "object ID"),
        "\nRole\n    internal_user: Entra grants this user no role, and internal_user is the default of new users.\n",
        "\nGroups that Entra reports: 2\n",
        &format!("  All Staff ({staff})\n    The group is not assigned to the app, so it has no effect.\n"),
        &format!(
            "  Production LLM Evals ({evals})\n    The user is in its team. The user is also in its organization.\n"
        ),
        "\nMemberships: 2\n",
        &format!("  team Production LLM Evals ({evals})\n    Added by Entraway at a sign-in"),
        &format!("  organization Production LLM Evals ({evals})\n    Added by Entraway at a sign-in"),
    ] {
        assert!(told.stdout.contains(line), "the output does not contain {line:?}:\n{}", told.stdout);
    }
    assert!(!told.stdout.contains("Why not in") && !told.stdout.contains("Member of"), "{}", told.stdout);

    for (team, heading, answer) in [
        ("all staff", "Why not in “all staff”?", "Users and groups"),
        (&*staff.to_string(), &format!("Why not in “{staff}”?"), "Users and groups"),
        ("Production LLM Evals", "Member of “Production LLM Evals”", "    The user is in the team."),
        ("Unheard Of", "Why not in “Unheard Of”?", "no team with it is known"),
    ] {
        let told = entraway(&["--user", &id, "--team", team]).await;
        let (_, answered) = told.stdout.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{told:?}"));
        let (answered, _) = answered.split_once("\nRole\n").unwrap();
        assert!(answered.contains(answer), "of {team}: {answered}");
    }
    assert_eq!(world.versions().await, before, "it writes nothing");
    assert_eq!(world.simulator.requests().len(), 0, "no requests to Entra");
}

#[tokio::test]
async fn explain_command_rejects_unknown_user_and_sanitizes_names() {
    let world = World::new().await;
    let alice = world.simulator.edit(|directory| directory.person("Alice Arden", |_| {}));
    world.sign_in(&world.service().await, alice).await;
    world.by_hand("update {users} set user_alias = 'Alice' || chr(27) || '[2J' where user_id = $1", &[&alice]).await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let env = environment(&world);

    for unknown in ["00000000-0000-0000-0000-000000000001", "alice.arden@contoso-sim.example", ""] {
        let told = run(&folder, &["explain", "--user", unknown, "--config", &config], &env).await;
        assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{told:?}");
        assert!(told.stderr.contains("unknown user: there is no account") && !told.stderr.contains('@'), "{told:?}");
    }
    let told = run(&folder, &["explain", "--user", &alice.to_string(), "--config", &config], &env).await;
    assert!(told.stdout.starts_with("Alice[2J\n"), "{told:?}");
    assert!(told.stdout.contains("Groups that Entra reports: 0") && told.stdout.contains("Memberships: 0"), "{told:?}");
}
