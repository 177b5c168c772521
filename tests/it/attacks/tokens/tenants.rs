//! Tokens of other tenants, and tokens that mix two tenants.

use entra_simulator::{Endpoint, Fault, FaultRule, IdToken, Signing, TenantId};
use entraway::config::{Config, Tenant};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::{refuses, refuses_each, wrong};
use crate::attacks::Siege;
use crate::id_token::stranger;
use crate::support::{LiteLlm, Native, Service, StoreKind, World, tenants};

/// Tenant of all personal Microsoft accounts.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Sets the token's tenant and issuer claims.
fn claim(token: &mut IdToken, tenant: &str, issuer: &str) {
    token.claims.insert("tid".into(), json!(tenant));
    token.claims.insert("iss".into(), json!(issuer));
}

#[tokio::test]
async fn open_endpoint_rejects_tenants_that_are_not_allowed() {
    for endpoint in [Tenant::Organizations, Tenant::Common] {
        let partner = TenantId::from(Uuid::new_v4());
        let siege = Siege::with(|world, config| {
            config.entra.tenant = endpoint;
            config.entra.allowed_tenants = tenants([world.simulator.edit(|directory| directory.tenant_id), partner]);
        });
        let mut siege = siege.await;
        let (mallory, _) = stranger(&siege.world);
        let (mut browser, callback) = siege.comes_back(mallory).await;
        siege.refuses("a tenant that is not allowed", (403, "tenant_not_allowed"), &mut browser, callback).await;

        // An administrator of another tenant can choose any object ID there.
        siege.world.sign_in(&siege.service, siege.alice).await;
        let (alice, theirs) = (siege.alice, partner);
        let pat = siege
            .world
            .simulator
            .edit(|directory| directory.person("Pat Partner", |person| person.tenant_id = Some(theirs)));
        siege.world.simulator.next_id_token(move |token| _ = token.claims.insert("oid".into(), json!(alice)));
        let (mut browser, callback) = siege.comes_back(pat).await;
        siege
            .refuses("an allowed tenant's person with Alice's id", (403, "other_tenant"), &mut browser, callback)
            .await;

        let home = siege.world.simulator.edit(|directory| directory.tenant_id).to_string();
        let authority = siege.world.simulator.authority_url();
        let issuer = |tenant: &str| format!("{authority}{tenant}/v2.0");
        let mixed = |how, code, tenant: &str, issuer: String| {
            let tenant = tenant.to_owned();
            wrong(how, code, move |token| claim(token, &tenant, &issuer))
        };
        let partner = partner.to_string();
        let third = Uuid::new_v4().to_string();
        let personal = issuer(CONSUMERS);
        let cases = vec![
            mixed("an allowed tenant's id and another's issuer", "id_token_issuer", &partner, issuer(&home)),
            mixed("our id and a third tenant's issuer", "id_token_issuer", &home, issuer(&third)),
            mixed("a third tenant's id and our issuer", "tenant_not_allowed", &third, issuer(&home)),
            mixed("the template as its issuer", "id_token_issuer", &home, issuer("{tenantid}")),
            mixed("the endpoint as its issuer", "id_token_issuer", &home, issuer("common")),
            mixed("a domain for a tenant", "id_token_no_tenant", "contoso-sim.example", issuer(&home)),
            mixed("two tenants for one", "id_token_no_tenant", &format!("{home},{partner}"), issuer(&home)),
            wrong("the key of personal accounts", "id_token_unknown_key", |token| {
                token.signing = Signing::PersonalAccountsKey;
            }),
            // Not even with its own tenant ID: that tenant is not allowed.
            wrong("a personal account", "tenant_not_allowed", move |token| {
                token.signing = Signing::PersonalAccountsKey;
                claim(token, CONSUMERS, &personal);
            }),
        ];
        refuses_each(siege, 11, cases).await;
    }
}

/// Records of a user with Alice's object ID in another tenant are never shown as hers, in either order.
#[rstest]
#[tokio::test]
async fn pages_hide_records_of_same_object_id_in_other_tenant(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let partner = TenantId::from(Uuid::new_v4());
    let home = world.simulator.edit(|directory| directory.tenant_id);
    let pat =
        world.simulator.edit(|directory| directory.person("Pat Partner", |person| person.tenant_id = Some(partner)));
    let service = async |require_group| {
        let open = |config: &mut Config| {
            config.entra.tenant = Tenant::Organizations;
            config.entra.allowed_tenants = tenants([home, partner]);
            config.policy.require_group = require_group;
        };
        world.service_with(open).await
    };
    let (open, closed) = (service(false).await, service(true).await);
    // Graph returns lists for the other tenant, too; they contain no group.
    let none = Fault::Status { status: 200, retry_after: None, body: Some(json!({ "value": [] })) };
    let comes = async |service: &Service, code: &str| {
        for list in [Endpoint::AssignedTo, Endpoint::MemberOf] {
            world.simulator.fault(FaultRule::on(list, none.clone()));
        }
        world.simulator.next_id_token(move |token| _ = token.claims.insert("oid".into(), json!(alice)));
        let answer = world.try_sign_in(service, pat).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, code), "{answer:#?}");
        world.simulator.clear_faults();
    };
    comes(&closed, "no_group").await;
    assert_eq!(
        world.readings().await[&alice.to_string()]["tenant_id"],
        json!(partner),
        "no other user has that ID yet"
    );
    let mut browser = world.sign_in(&open, alice).await;
    let hers = world.readings().await;
    assert_eq!(hers[&alice.to_string()]["tenant_id"], json!(home), "the admitted user has the ID");
    let known = json!({ group.to_string(): { "name": "Production LLM Evals", "assigned": true } });
    assert_eq!(hers[&alice.to_string()]["groups"], known);
    let told = browser.me(&open).await.json();

    comes(&open, "other_tenant").await;
    comes(&closed, "no_group").await;

    assert_eq!(world.refusals().await, ["no_group", "other_tenant", "no_group"]);
    assert_eq!(world.readings().await, hers, "the stored groups of Alice");
    assert_eq!(browser.me(&open).await.json(), told, "the response of /api/me");
    let page = browser.get(open.at("/")).await.body;
    assert!(page.contains("added to Production LLM Evals"), "her own last sync: {page}");
    let syncs = browser.get_json(open.at("/api/syncs")).await.json();
    let syncs: Vec<_> = syncs["syncs"].as_array().unwrap().iter().map(|sync| &sync["tenant_id"]).collect();
    assert_eq!(syncs, [&json!(home)], "her own records");
}

#[tokio::test]
async fn tenant_domain_rejects_tokens_of_other_tenants() {
    let siege = Siege::with(|_, config| config.entra.tenant = Tenant::Domain("contoso-sim.example".into())).await;
    let authority = siege.world.simulator.authority_url();
    let cases = vec![wrong("another tenant than the domain's", "tenant_not_allowed", move |token| {
        let other = Uuid::new_v4().to_string();
        claim(token, &other, &format!("{authority}{other}/v2.0"));
    })];
    refuses_each(siege, 1, cases).await;
}

#[tokio::test]
async fn allowed_email_domain_checks_upn_and_not_email_claim() {
    let siege = Siege::with(|_, config| {
        config.policy.allowed_email_domains = ["contoso-sim.example".to_owned()].into();
    });
    let mut siege = siege.await;
    let mail = "cfo@contoso-sim.example";
    for (how, upn) in [
        ("no address for a sign-in name", "cfo"),
        ("the domain in front", "contoso-sim.example@evil.example"),
        ("a domain that ends so", "cfo@evil-contoso-sim.example"),
        ("a domain that begins so", "cfo@contoso-sim.example.evil.example"),
        ("a domain within ours", "cfo@evil.contoso-sim.example"),
        ("a dot behind the domain", "cfo@contoso-sim.example."),
        ("a letter that looks like another", "cfo@c\u{43e}ntoso-sim.example"),
        ("a dot of another alphabet", "cfo@contoso-sim\u{3002}example"),
        ("a blank behind a line end", "eve@evil.example\n cfo@contoso-sim.example"),
        ("two addresses", "eve@evil.example,cfo@contoso-sim.example"),
        ("two addresses in one", "eve@evil.example@contoso-sim.example"),
        ("an address within another", "<eve@evil.example>cfo@contoso-sim.example"),
        ("quotes around another address", "\"eve@evil.example\"@contoso-sim.example"),
        ("a comment", "cfo(eve)@contoso-sim.example"),
        ("invisible letters", "\u{200b}cfo@contoso-sim.example"),
        ("bidi controls", "\u{202e}ofc@contoso-sim.example"),
        ("a NUL behind the name", "eve@evil.example\0@contoso-sim.example"),
    ] {
        siege.world.simulator.next_id_token(move |token| {
            token.claims.insert("preferred_username".into(), json!(upn));
            token.claims.insert("email".into(), json!(mail));
        });
        refuses(&mut siege, how, "email_domain_not_allowed").await;
    }
    siege.stands(17).await;
}
