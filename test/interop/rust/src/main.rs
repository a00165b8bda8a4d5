//! Drives the `spiffe` crate as a workload would, told what to do by the test that started it: a command is one line of JSON on
//! standard input, its answer one line on standard output, and what comes by itself in between is an event.

mod mtls;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use spiffe::{
    Certificate, JwtSource, JwtSvid, SpiffeId, TrustDomain, WorkloadApiClient, X509Context, X509Source, X509Svid,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

type Answer = Result<Value, Box<dyn Error>>;

/// Each source is on a connection of its own, as the crate does by default.
struct Workload {
    client: WorkloadApiClient,
    x509: Arc<X509Source>,
    jwts: JwtSource,
    kept: mtls::Kept,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut workload = None;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let asked: Value = serde_json::from_str(&line)?;
        match run(&mut workload, &asked).await {
            Ok(answer) => write(&json!({ "answer": answer })),
            Err(error) => write(&json!({ "failure": reasons(error.as_ref()) })),
        }
    }
    Ok(())
}

async fn run(workload: &mut Option<Workload>, asked: &Value) -> Answer {
    let what = text(asked, "do");
    if what == "watch" {
        *workload = Some(watch().await?);
        return Ok(Value::Null);
    }
    if what == "fetch" {
        let once = WorkloadApiClient::connect_env().await?;
        return Ok(identity(&once.fetch_x509_svid().await?));
    }
    let workload = workload.as_mut().ok_or("watch comes first")?;
    let audience = audience(asked);
    match what {
        "source" => Ok(identity(workload.x509.svid()?.as_ref())),
        "bundle" => bundle(workload, &TrustDomain::new(text(asked, "trustDomain"))?).await,
        "jwt" => {
            let subject = asked["subject"].as_str().map(str::parse::<SpiffeId>).transpose()?;
            Ok(token(
                &workload.jwts.fetch_jwt_svid_with_id(audience, subject.as_ref()).await?,
            ))
        }
        "validate" => {
            let [audience] = audience.as_slice() else {
                return Err("validate needs one audience".into());
            };
            Ok(token(
                &workload
                    .client
                    .validate_jwt_token(audience, text(asked, "token"))
                    .await?,
            ))
        }
        "verify" => Ok(token(&JwtSvid::parse_and_validate(
            text(asked, "token"),
            &workload.jwts,
            &audience,
        )?)),
        "listen" => mtls::listen(&workload.x509, text(asked, "expect")).await,
        "dial" => mtls::dial(&workload.x509, text(asked, "address"), text(asked, "expect")).await,
        "open" => {
            let (address, expect) = (text(asked, "address"), text(asked, "expect"));
            mtls::open(&mut workload.kept, &workload.x509, address, expect).await
        }
        "say" => mtls::say(&mut workload.kept, text(asked, "address"), text(asked, "word")).await,
        other => Err(format!("{other:?} is no command").into()),
    }
}

async fn watch() -> Result<Workload, Box<dyn Error>> {
    event("opening", Value::Null);
    let x509 = Arc::new(X509Source::new().await?);
    let jwts = JwtSource::new().await?;
    // The sources wait for an agent that does not run yet; this does not.
    let client = WorkloadApiClient::connect_env().await?;
    let watched = Arc::clone(&x509);
    let mut updates = watched.updated();
    tell(&watched);
    tokio::spawn(async move {
        while updates.changed().await.is_ok() {
            tell(&watched);
        }
        event("ended", json!("the source is closed"));
    });
    Ok(Workload {
        client,
        x509,
        jwts,
        kept: mtls::Kept::new(),
    })
}

fn tell(source: &X509Source) {
    match source.x509_context() {
        Ok(context) => event("update", update(&context)),
        Err(error) => event("error", json!(reasons(&error))),
    }
}

/// What the sources hold for a trust domain, once the agent has said the same.
async fn bundle(workload: &Workload, trust_domain: &TrustDomain) -> Answer {
    let roots = workload
        .x509
        .try_bundle_for_trust_domain(trust_domain)
        .ok_or("no X.509 bundle")?;
    let keys = workload
        .jwts
        .try_bundle_for_trust_domain(trust_domain)
        .ok_or("no JWT bundle")?;
    if Some(&roots) != workload.client.fetch_x509_bundles().await?.get(trust_domain).as_ref() {
        return Err("the X509Source holds another bundle than the agent serves".into());
    }
    if Some(&keys) != workload.client.fetch_jwt_bundles().await?.get(trust_domain).as_ref() {
        return Err("the JwtSource holds another bundle than the agent serves".into());
    }
    let mut key_ids: Vec<_> = keys.jwt_authorities().map(|key| key.key_id()).collect();
    key_ids.sort_unstable();
    Ok(json!({ "x509": encoded(roots.authorities()), "jwt": key_ids }))
}

fn update(context: &X509Context) -> Value {
    let svids: Vec<_> = context.svids().iter().map(|svid| identity(svid)).collect();
    let bundles: Map<_, _> = context
        .bundle_set()
        .iter()
        .map(|(trust_domain, bundle)| (trust_domain.to_string(), json!(encoded(bundle.authorities()))))
        .collect();
    json!({ "svids": svids, "bundles": bundles })
}

fn identity(svid: &X509Svid) -> Value {
    json!({ "id": svid.spiffe_id().to_string(), "hint": svid.hint(), "chain": encoded(svid.cert_chain()) })
}

fn token(svid: &JwtSvid) -> Value {
    let mut audience = svid.audience().to_vec();
    audience.sort_unstable();
    json!({
        "id": svid.spiffe_id().to_string(),
        "audience": audience,
        "expiry": svid.claims().exp(),
        "token": svid.token(),
    })
}

fn encoded(certificates: &[Certificate]) -> Vec<String> {
    certificates
        .iter()
        .map(|certificate| BASE64_STANDARD.encode(certificate.as_bytes()))
        .collect()
}

fn text<'a>(asked: &'a Value, field: &str) -> &'a str {
    asked[field].as_str().unwrap_or_default()
}

fn audience(asked: &Value) -> Vec<String> {
    asked["audience"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The crate keeps what the agent has said in the sources of its errors.
fn reasons(error: &dyn Error) -> String {
    let mut reasons = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reasons = format!("{reasons}: {error}");
        cause = error.source();
    }
    reasons
}

fn event(name: &str, value: Value) {
    write(&json!({ "event": name, "value": value }));
}

/// An answer and an event never share a line: standard output is locked for each.
fn write(line: &Value) {
    let mut output = std::io::stdout().lock();
    if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
        // The test has gone.
        std::process::exit(1);
    }
}
