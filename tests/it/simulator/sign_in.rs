//! The authorization code flow, the app-only token, and the results of Graph.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_simulator::{Directory, Endpoint, ObjectId, Principal, Signing, TenantId, TokenKind};
use serde_json::{Value, json};

use super::support::{World, ids, value};

fn named(world: &World, name: &str) -> ObjectId {
    world.simulator.edit(|directory| directory.people.iter().find(|person| person.name == name).unwrap().id)
}

fn part(token: &str, at: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Whether a key in the tenant's JWKS verifies the token.
async fn verifies(world: &World, token: &str) -> bool {
    let keys: Value = world.get(&format!("/{}/discovery/v2.0/keys", world.tenant())).await.json().await.unwrap();
    let header = part(token, 0);
    let Some(key) = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]) else {
        return false;
    };
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let key = RsaPublicKeyComponents { n: number("n"), e: number("e") };
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn discovery_issuer_is_the_tenant_or_the_template() {
    let world = World::start(Directory::sample()).await;
    let tenant = world.tenant();
    let origin = world.simulator.authority_url().to_string().trim_end_matches('/').to_owned();
    for (segment, issuer) in [
        (tenant.as_str(), format!("{origin}/{tenant}/v2.0")),
        ("fabrikam-sim.example", format!("{origin}/{tenant}/v2.0")),
        ("organizations", format!("{origin}/{{tenantid}}/v2.0")),
        ("common", format!("{origin}/{{tenantid}}/v2.0")),
    ] {
        let path = format!("/{segment}/v2.0/.well-known/openid-configuration");
        let body: Value = world.get(&path).await.json().await.unwrap();
        assert_eq!(body["issuer"], issuer);
        let keys: Value =
            world.client.get(body["jwks_uri"].as_str().unwrap()).send().await.unwrap().json().await.unwrap();
        assert_eq!(keys["keys"][0]["issuer"], issuer);
        assert_eq!(keys["keys"][0].get("alg"), None);
        assert_eq!(keys["keys"].as_array().unwrap().len(), if segment == "common" { 2 } else { 1 });
    }
    let unknown = world.get("/nobody.example/v2.0/.well-known/openid-configuration").await;
    assert_eq!(unknown.status(), 400);
    let body: Value = unknown.json().await.unwrap();
    assert_eq!((&body["error"], &body["error_codes"]), (&json!("invalid_tenant"), &json!([90002])));
}

#[tokio::test]
async fn code_flow_returns_tokens() {
    let world = World::start(Directory::sample()).await;
    let tenant = world.tenant();
    let alice = named(&world, "Alice Arden");
    let answer = world.pick(&tenant, alice).await;
    assert_eq!(value(&answer, "state"), "the state");
    let code = value(&answer, "code");
    let (status, body) = world.redeem(&tenant, code, &[]).await;
    assert_eq!(status, 200, "{body}");
    let token = body["id_token"].as_str().unwrap();
    assert!(verifies(&world, token).await);
    let claims = part(token, 1);
    assert_eq!(claims["iss"], format!("{}{tenant}/v2.0", world.simulator.authority_url()));
    assert_eq!(claims["oid"], alice.to_string());
    assert_eq!(claims["nonce"], "the nonce");
    assert_eq!(claims["roles"], json!(["proxy_admin"]));
    assert_eq!(claims["email"], "alice.arden@fabrikam-sim.example");
    assert_eq!(claims["sid"], value(&answer, "session_state"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3900);
    assert_eq!(body.get("refresh_token"), None);

    let access = body["access_token"].as_str().unwrap();
    let (status, me) = world.graph_json(access, "/v1.0/me?$select=id,userType").await;
    assert_eq!((status, &me["id"], &me["userType"]), (200, &json!(alice), &json!("Member")));
    assert_eq!(me.get("mail"), None);

    let (_, again) = world.redeem(&tenant, code, &[]).await;
    assert_eq!(again["error_codes"], json!([54005]));
}

#[tokio::test]
async fn token_endpoint_rejects_invalid_requests() {
    let world = World::start(Directory::sample()).await;
    let tenant = world.tenant();
    let answer = world.pick(&tenant, named(&world, "Bob Birch")).await;
    let code = value(&answer, "code");
    for (segment, change, status, aadsts) in [
        (tenant.as_str(), ("code_verifier", "wrong"), 400, 501_481),
        (&tenant, ("client_secret", "wrong"), 401, 7_000_215),
        (&tenant, ("client_secret", ""), 401, 7_000_218),
        (&tenant, ("redirect_uri", "http://localhost:4180/other"), 401, 500_112),
        (&tenant, ("code", "made up"), 400, 9_002_313),
        (&tenant, ("grant_type", "password"), 400, 70003),
        ("organizations", ("code", code), 400, 700_005),
    ] {
        let (got, body) = world.redeem(segment, code, &[change]).await;
        assert_eq!((got, &body["error_codes"]), (status, &json!([aadsts])), "{change:?}");
        assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{aadsts}: ")));
    }
    // HTTP Basic is accepted like parameters in the body.
    let (id, secret) = world.simulator.edit(|directory| (directory.client_id.clone(), directory.client_secret.clone()));
    let response = world
        .client
        .post(world.url("/fabrikam-sim.example/oauth2/v2.0/token"))
        .basic_auth(id, Some(secret))
        .form(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", super::support::REDIRECT),
            ("code_verifier", super::support::VERIFIER),
        ])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn codes_and_tokens_expire() {
    let time = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let clock = time.clone();
    let world = World::with(Directory::sample(), |options| {
        options.now = std::sync::Arc::new(move || {
            super::support::noon() + chrono::Duration::seconds(clock.load(std::sync::atomic::Ordering::SeqCst))
        });
    })
    .await;
    let tenant = world.tenant();
    let answer = world.pick(&tenant, named(&world, "Bob Birch")).await;
    let token = world.app_token().await;
    time.store(600, std::sync::atomic::Ordering::SeqCst);
    let (_, body) = world.redeem(&tenant, value(&answer, "code"), &[]).await;
    assert_eq!(body["error_codes"], json!([70008]));
    time.store(3599, std::sync::atomic::Ordering::SeqCst);
    let principal = world.simulator.edit(|directory| directory.service_principal_id.clone());
    let (status, body) = world.graph_json(&token, &format!("/v1.0/servicePrincipals/{principal}")).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("InvalidAuthenticationToken")));
}

#[tokio::test]
async fn disallowed_users_get_an_error_redirect_or_page() {
    let mut directory = Directory::sample();
    directory.assignment_required = true;
    let other = directory.person("Olga Other", |person| {
        person.tenant_id = Some("0a0a0a0a-0000-4000-8000-00000000000a".parse::<TenantId>().unwrap());
    });
    let refuser = directory.person("Rita Refuser", |person| person.consents = false);
    directory.assign_principal(Principal::User(refuser), None);
    directory.assign_principal(Principal::User(other), None);
    let world = World::start(directory).await;
    let tenant = world.tenant();

    // Dave is in the assigned group only through a nested one, which Entra does not count.
    let answer = world.pick(&tenant, named(&world, "Dave Diallo")).await;
    assert_eq!(value(&answer, "error"), "access_denied");
    assert!(value(&answer, "error_description").starts_with("AADSTS50105"));

    let answer = world.pick(&tenant, refuser).await;
    assert_eq!(value(&answer, "error_subcode"), "cancel");
    assert!(value(&answer, "error_description").starts_with("AADSTS65004"));

    let stray = world.simulator.pick_url(&world.authorize_url(&tenant), other);
    assert_eq!(world.client.get(stray).send().await.unwrap().status(), 400);
    let answer = world.pick("organizations", other).await;
    let (_, body) = world.redeem("organizations", value(&answer, "code"), &[]).await;
    let claims = part(body["id_token"].as_str().unwrap(), 1);
    assert_eq!(claims["tid"], "0a0a0a0a-0000-4000-8000-00000000000a");
    assert!(claims["iss"].as_str().unwrap().ends_with("/0a0a0a0a-0000-4000-8000-00000000000a/v2.0"));
}

#[tokio::test]
async fn invalid_authorization_request_is_rejected() {
    let world = World::start(Directory::sample()).await;
    world.simulator.edit(|directory| directory.redirect_uris = vec!["http://localhost:4180/elsewhere".to_owned()]);
    let page = world.client.get(world.authorize_url(&world.tenant())).send().await.unwrap();
    assert_eq!(page.status(), 400);
    assert!(page.text().await.unwrap().contains("AADSTS50011"));
    world.simulator.edit(|directory| directory.redirect_uris.clear());

    for (name, value_, error) in [
        ("scope", "profile", "invalid_scope"),
        ("scope", "openid https://graph.microsoft.com/User.Read", "invalid_resource"),
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("prompt", "none", "login_required"),
    ] {
        let mut url = world.authorize_url(&world.tenant());
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, value_);
        let answer = super::support::answer(&world.client.get(url).send().await.unwrap());
        assert_eq!((value(&answer, "error"), value(&answer, "state")), (error, "the state"));
    }
}

#[tokio::test]
async fn member_of_pages_mixed_object_types() {
    let mut directory = Directory::sample();
    let alice = directory.people[0].id;
    for n in 0..3 {
        let group = directory.group(&format!("Extra {n}"));
        directory.put(alice, group);
    }
    let world = World::start(directory).await;
    let token = world.delegated_token(alice).await;
    let mut url = "/v1.0/me/memberOf?$select=id,displayName,roleTemplateId&$top=4".to_owned();
    let mut all: Vec<Value> = Vec::new();
    let mut pages = 0;
    loop {
        let (status, body) = world.graph_json(&token, &url).await;
        assert_eq!(status, 200, "{body}");
        pages += 1;
        all.extend(body["value"].as_array().unwrap().clone());
        let Some(next) = body["@odata.nextLink"].as_str() else { break };
        next.clone_into(&mut url);
    }
    assert_eq!((pages, all.len()), (3, 9));
    let kinds = |kind: &str| all.iter().filter(|one| one["@odata.type"] == format!("#microsoft.graph.{kind}")).count();
    assert_eq!((kinds("group"), kinds("directoryRole"), kinds("administrativeUnit")), (7, 1, 1));
    assert_eq!(all[0].get("roleTemplateId"), None);
    let seen = world.simulator.requests_to(Endpoint::MemberOf);
    assert_eq!(seen.iter().map(|seen| seen.page).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(seen[0].token, Some(TokenKind::Delegated));
    assert_eq!(seen[0].client_request_id.as_deref(), Some("mine"));

    for (query, code) in [
        ("$top=1000", "Request_UnsupportedQuery"),
        ("$top=0", "Request_UnsupportedQuery"),
        ("$skip=3", "Request_BadRequest"),
        ("$skiptoken=foreign", "Directory_ExpiredPageToken"),
    ] {
        let (status, body) = world.graph_json(&token, &format!("/v1.0/me/memberOf?{query}")).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!(code)));
    }
}

#[tokio::test]
async fn nested_groups_are_transitive_and_names_can_be_hidden() {
    let world = World::start(Directory::sample()).await;
    let token = world.delegated_token(named(&world, "Dave Diallo")).await;
    let (_, direct) = world.graph_json(&token, "/v1.0/me/memberOf").await;
    let (_, transitive) = world.graph_json(&token, "/v1.0/me/transitiveMemberOf").await;
    assert_eq!((ids(&direct).len(), ids(&transitive).len()), (2, 3));
    assert_eq!(transitive["value"][0]["displayName"], "Platform Engineering");

    world.simulator.edit(|directory| directory.app_permissions.delegated_group_member_read = false);
    let (_, limited) = world.graph_json(&token, "/v1.0/me/memberOf").await;
    assert_eq!(ids(&limited), ids(&direct));
    assert_eq!(limited["value"][0]["displayName"], Value::Null);
    assert_eq!(limited["value"][0]["groupTypes"], json!([]));
}

#[tokio::test]
async fn assignment_list_requires_the_permission() {
    let world = World::start(Directory::sample()).await;
    let principal = world.simulator.edit(|directory| directory.service_principal_id.clone());
    let list = format!("/v1.0/servicePrincipals/{principal}/appRoleAssignedTo");
    let token = world.app_token().await;
    let (status, body) = world.graph_json(&token, &format!("{list}?$top=999")).await;
    assert_eq!(status, 200, "{body}");
    let items = body["value"].as_array().unwrap();
    let analysts = items.iter().filter(|item| item["principalDisplayName"] == "Prompt Analysts").count();
    let people = items.iter().filter(|item| item["principalType"] == "User").count();
    assert_eq!((items.len(), analysts, people), (9, 2, 3));
    assert!(items.iter().all(|item| item["resourceId"] == principal));

    let (status, body) = world.graph_json(&token, "/v1.0/me/memberOf").await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("BadRequest")));
    let wrong = "/v1.0/servicePrincipals/11111111-0000-4000-8000-000000000000/appRoleAssignedTo";
    assert_eq!(world.graph_json(&token, wrong).await.0, 404);
    let delegated = world.delegated_token(named(&world, "Bob Birch")).await;
    assert_eq!(world.graph_json(&delegated, &list).await.0, 403);
    world.simulator.edit(|directory| directory.app_permissions.application_read = false);
    let (status, body) = world.graph_json(&token, &list).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("Authorization_RequestDenied")));
    // The app may still read its own service principal.
    assert_eq!(world.graph_json(&token, &format!("/v1.0/servicePrincipals/{principal}")).await.0, 200);
    world.simulator.revoke_tokens();
    assert_eq!(world.graph_json(&token, &list).await.0, 401);
    assert_eq!(world.app_only("organizations").await.0, 400);
}

#[tokio::test]
async fn signing_keys_rotate_and_id_tokens_can_be_forged() {
    let world = World::start(Directory::sample()).await;
    let tenant = world.tenant();
    let bob = named(&world, "Bob Birch");
    let token = async || {
        let answer = world.pick(&tenant, bob).await;
        let (_, body) = world.redeem(&tenant, value(&answer, "code"), &[]).await;
        body["id_token"].as_str().unwrap().to_owned()
    };
    let old = token().await;
    assert!(verifies(&world, &old).await);
    let new_key = world.simulator.add_key();
    assert!(verifies(&world, &old).await && part(&token().await, 0)["kid"] == part(&old, 0)["kid"]);
    assert!(world.simulator.sign_with(&new_key));
    assert_eq!(part(&token().await, 0)["kid"], new_key);
    assert!(verifies(&world, &old).await);
    world.simulator.rotate_keys();
    assert!(!verifies(&world, &old).await && !verifies(&world, "eyJraWQiOiJ4In0.e30.").await);
    assert!(verifies(&world, &token().await).await);
    assert_eq!(world.simulator.key_ids().len(), 1);

    for signing in [
        Signing::UnknownKey,
        Signing::WrongKey,
        Signing::PersonalAccountsKey,
        Signing::CorruptSignature,
        Signing::CutSignature,
    ] {
        let wanted = signing.clone();
        world.simulator.next_id_token(move |token| token.signing = wanted.clone());
        assert!(!verifies(&world, &token().await).await, "{signing:?}");
    }
    let pem = world.simulator.public_key_pem().into_bytes();
    assert!(pem.starts_with(b"-----BEGIN PUBLIC KEY-----\nMIIB"));
    for (signing, alg) in [(Signing::None, "none"), (Signing::Hs256(pem), "HS256")] {
        world.simulator.next_id_token(move |token| {
            token.signing = signing.clone();
            token.claims.insert("tid".to_owned(), json!("elsewhere"));
        });
        let token = token().await;
        assert_eq!((&part(&token, 0)["alg"], &part(&token, 1)["tid"]), (&json!(alg), &json!("elsewhere")));
    }
    world.simulator.next_id_token(|token| token.raw = Some("nonsense".to_owned()));
    assert_eq!(token().await, "nonsense");
    world.simulator.clear_faults();
    assert!(verifies(&world, &token().await).await);
}
