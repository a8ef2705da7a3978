use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, date: None, body: Bytes::copy_from_slice(body.as_bytes()) }
}

#[test]
fn only_what_decides_is_a_refusal() {
    #[track_caller]
    fn check(status: u16, body: &str, refused: bool, said: &str) {
        let trouble = denied("E", "walpost", &Secret::new("canary"), &answer(status, body));
        assert_eq!((trouble.refused, trouble.message.as_str()), (refused, said), "{body}");
    }
    let refuses = |rest: &str| format!("E refuses client walpost {rest}");
    check(401, r#"{"error":"invalid_client"}"#, true, &refuses("(401): invalid_client"));
    check(
        400,
        r#"{"error":"invalid_scope","error_description":"no\nsuch scope"}"#,
        true,
        &refuses("(400): invalid_scope: no such scope"),
    );
    check(403, "forbidden", true, &refuses("(403)"));
    let wrong = r#"{"error":"invalid_client","error_description":"canary is wrong"}"#;
    check(401, wrong, true, &refuses("(401)"));
    check(400, "<html>", false, "E answers with status 400");
    check(404, "", false, "E answers with status 404");
    check(429, r#"{"error":"slow_down"}"#, false, "E answers with status 429: slow_down");
    check(503, "", false, "E answers with status 503");
}

#[test]
fn a_life_is_that_of_the_answer_or_of_the_token() {
    #[track_caller]
    fn check(grant: &str, expected: Option<Option<u64>>) {
        let grant: Grant = serde_json::from_str(grant).expect("json");
        let now = Duration::from_secs(1_000);
        let found = life(&grant, &claims(&grant.access_token), now);
        assert_eq!(found, expected.map(|life| life.map(Duration::from_secs)));
    }
    // {"sub":"relay","exp":1060}
    let jwt = "e30.eyJzdWIiOiJyZWxheSIsImV4cCI6MTA2MH0.c2ln";
    assert_eq!(claims(jwt).sub.as_deref(), Some("relay"));
    check(&format!(r#"{{"access_token":"{jwt}"}}"#), Some(Some(60)));
    check(&format!(r#"{{"access_token":"{jwt}","expires_in":300}}"#), Some(Some(300)));
    check(r#"{"access_token":"opaque","expires_in":"300"}"#, Some(Some(300)));
    check(r#"{"access_token":"opaque","expires_in":0}"#, Some(None));
    check(r#"{"access_token":"opaque","expires_in":-5}"#, Some(None));
    check(r#"{"access_token":"opaque"}"#, None);
    check(r#"{"access_token":"a.b.c","expires_in":1e300}"#, Some(Some(365 * 86_400)));
}

#[test]
fn a_client_and_its_secret_are_encoded_as_in_a_form() {
    let options = Options {
        endpoint: Url::parse("https://idp/token").expect("a url"),
        client_id: "shop:relay".to_owned(),
        client_secret: Kept::Here(Secret::new("a b%~ü")),
        scope: Some("kafka.write x".to_owned()),
        extensions: Vec::new(),
        ca: None,
    };
    let request = options.request(&options.client_secret.read().expect("here")).expect("a request");
    let sent = request.headers().get(AUTHORIZATION).expect("it").to_str().expect("text");
    let user = STANDARD.decode(sent.strip_prefix("Basic ").expect("basic")).expect("base64");
    assert_eq!(String::from_utf8(user).expect("text"), "shop%3Arelay:a%20b%25~%C3%BC");
}

#[test]
fn clocks_are_compared_by_the_date_of_the_answer() {
    let now = Duration::from_secs(784_111_777 + 90);
    assert_eq!(clock_ahead("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(90));
    assert_eq!(clock_ahead("yesterday", now), None);
}
