//! What nobody else may learn.

use super::common::mint::{KeyFile, SECRET, Signer, now_s, sign, token};
use super::common::{Client, json, transported};
use super::store::Folder;
use super::{common, enter, event, hello};

transported!(secrets_are_shown_nowhere,);

fn secrets_are_shown_nowhere(shards: u16) {
    let folder = Folder::new("secrets");
    let file = KeyFile::secret();
    let good = token("ann", 100);
    let bad = sign(
        Signer::Hs256(&[7; 32]),
        json!({"sub": "ann", "exp": now_s() + 100}),
    );
    let mut secrets = vec![SECRET.to_owned(), good.clone(), bad.clone()];
    let mut outputs = Vec::new();
    {
        // Guests, with the secrets that prove them.
        let server = folder.serve_with(shards, &["--log", "trace", "--raw"]);
        let ann = server.client("guest-ann");
        assert_eq!(ann.session.len(), 32, "128 bits");
        let other = server.client("guest-bob");
        assert_ne!(ann.session, other.session);
        let own = "a secret that a client made up";
        let hello_own = json!({"type": "hello", "user": "own", "session": own});
        drop(Client::on(hello(&server, hello_own)));
        let wrong = "a secret of somebody else";
        let mut socket = hello(
            &server,
            json!({"type": "hello", "user": "own", "session": wrong}),
        );
        outputs.push(event(&mut socket).to_string());
        let mut socket = server.socket("/ws?user=own&session=short+secret");
        outputs.push(event(&mut socket).to_string());
        let mut client = Client::open(&server, "?room=r");
        client.say_text(
            r#"{"type":"hello","session":"misplaced secret 0123","token":"misplaced token"}"#,
        );
        outputs.push(client.take("error").to_string());
        secrets.extend([own, wrong, "short secret", "misplaced"].map(str::to_owned));
        secrets.extend([
            ann.session.clone(),
            other.session.clone(),
            client.session.clone(),
        ]);
        outputs.push(server.get("/metrics").text());
        outputs.push(server.log());
    }
    {
        let flags = [
            "--log",
            "trace",
            "--raw",
            "--auth",
            "jwt",
            "--jwt-key",
            file.text(),
        ];
        let server = folder.serve_with(shards, &flags);
        drop(enter(&server, &good));
        for mut socket in [
            hello(&server, json!({"type": "hello", "token": bad})),
            server.socket_of("/ws", &bad),
            server.socket_of("/ws?user=bob", &good),
        ] {
            outputs.push(event(&mut socket).to_string());
        }
        server.socket_of("/raw/r", &bad).closed();
        server.signal("HUP");
        server.await_log("the key set of tokens was read again; new");
        file.write(&SECRET[..20]);
        server.signal("HUP");
        server.await_log("is refused, the old one stays");
        secrets.push(SECRET[..20].to_owned());
        outputs.push(server.get("/metrics").text());
        outputs.push(server.log());
    }
    for entry in std::fs::read_dir(folder.path()).expect("the data folder") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("a file");
        outputs.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let parts = secrets.iter().flat_map(|secret| {
        // Parts of a token tell as much as the whole.
        let signature = secret.rsplit_once('.').map(|(_, signature)| signature);
        [Some(secret.as_str()), signature].into_iter().flatten()
    });
    for part in parts {
        for output in &outputs {
            assert!(!output.contains(part), "{part} is in {output}");
        }
    }
}
