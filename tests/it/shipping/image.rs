//! The image: what the Dockerfile copies is there and let through, and what it runs is a command.

use std::path::Path;

use deskferry::config::settings::Settings;

use super::{assert_exists, assert_understood, read, root, settings_with};

const DOCKERFILE: &str = "Dockerfile";

/// One instruction: its word, and the rest with continued lines joined.
struct Instruction {
    word: String,
    rest: String,
}

fn instructions() -> Vec<Instruction> {
    let text = read(DOCKERFILE);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap();
            Instruction { word: word.to_owned(), rest: rest.split_whitespace().collect::<Vec<_>>().join(" ") }
        })
        .collect()
}

/// Those of the last stage: the image that is shipped.
fn shipped() -> Vec<Instruction> {
    let mut all = instructions();
    let from = all.iter().rposition(|instruction| instruction.word == "FROM").unwrap();
    all.split_off(from)
}

fn of<'i>(instructions: &'i [Instruction], word: &str) -> Vec<&'i str> {
    let found = instructions.iter().filter(|instruction| instruction.word == word);
    found.map(|instruction| instruction.rest.as_str()).collect()
}

/// The words of `["a", "b"]`.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_else(|error| panic!("{DOCKERFILE}: {list}: {error}"))
}

/// `ENV A=1 B=2` as pairs.
fn variables(instructions: &[Instruction]) -> Vec<(String, String)> {
    let pairs = of(instructions, "ENV").into_iter().flat_map(str::split_whitespace);
    pairs.map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()).collect()
}

/// What `.dockerignore` lets through.
fn let_through() -> Vec<String> {
    let text = read(".dockerignore");
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "everything is left out but what is named");
    lines.map(|line| line.strip_prefix('!').unwrap().to_owned()).collect()
}

#[test]
fn what_the_dockerfile_copies_exists_and_is_let_through() {
    let through = let_through();
    for path in &through {
        assert_exists(path, ".dockerignore");
    }
    let mut copied = Vec::new();
    for rest in of(&instructions(), "COPY") {
        if rest.starts_with("--from=build ") {
            continue;
        }
        let mut sources: Vec<&str> = rest.split(' ').filter(|word| !word.starts_with("--")).collect();
        sources.pop();
        for source in sources {
            assert_exists(source, DOCKERFILE);
            let source = Path::new(source);
            let arrives = through.iter().any(|path| Path::new(path).starts_with(source) || source.starts_with(path));
            assert!(arrives, "{DOCKERFILE} copies {}, which .dockerignore leaves out", source.display());
            copied.push(source.to_owned());
        }
    }
    for path in &through {
        let used = copied.iter().any(|copied| Path::new(path).starts_with(copied));
        assert!(used, ".dockerignore lets {path} through, and nothing copies it");
    }
}

#[test]
fn what_the_program_includes_at_compile_time_is_in_the_image_s_build() {
    let through = let_through();
    for path in ["src", "migrations", ".sqlx", "config/deskferry.toml", "config/mapping.toml", ".cargo/config.toml"] {
        assert!(through.iter().any(|known| known == path), ".dockerignore leaves {path} out");
    }
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain_and_the_lock_file() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let all = instructions();
    assert!(of(&all, "FROM")[0].starts_with(&format!("rust:{channel}-")), "{}", of(&all, "FROM")[0]);
    let builds: Vec<&str> =
        of(&all, "RUN").into_iter().flat_map(|rest| rest.split("&&")).filter(|step| step.contains("cargo ")).collect();
    assert_eq!(builds.len(), 2, "dependencies, then the program");
    assert_eq!(builds[0].trim(), builds[1].trim(), "with other options the dependencies would be built twice");
    assert!(builds[0].contains("--locked"), "{}", builds[0]);
    // Without new times cargo would take the empty program for the current one.
    let last = of(&all, "RUN").into_iter().rfind(|rest| rest.contains("cargo ")).unwrap();
    assert!(last.starts_with("touch src/lib.rs src/main.rs && "), "{last}");
}

#[test]
fn the_dependencies_are_built_before_any_source_is_copied() {
    let all = instructions();
    let first_build = all.iter().position(|it| it.word == "RUN" && it.rest.contains("cargo ")).unwrap();
    for before in &all[..first_build] {
        if before.word == "COPY" {
            assert!(!before.rest.contains("src") && !before.rest.starts_with(". "), "COPY {}", before.rest);
        }
    }
}

#[test]
fn the_image_runs_the_binary_that_cargo_makes_as_a_user_without_rights() {
    let name = Path::new(env!("CARGO_BIN_EXE_deskferry")).file_name().unwrap().to_str().unwrap();
    let shipped = shipped();
    let from_build: Vec<&str> =
        of(&shipped, "COPY").into_iter().filter_map(|rest| rest.strip_prefix("--from=build ")).collect();
    assert_eq!(from_build, [format!("/src/target/release/{name} /usr/local/bin/{name}")]);
    assert_eq!(words(of(&shipped, "ENTRYPOINT")[0]), [name]);
    let user = of(&shipped, "USER");
    let ids: Vec<u32> = user[0].split(':').map(|id| id.parse().unwrap()).collect();
    assert!(user.len() == 1 && ids.iter().all(|id| *id > 999), "{user:?}");
    assert!(of(&shipped, "RUN")[0].contains("ca-certificates"));
    for tool in ["curl", "wget"] {
        assert!(!of(&shipped, "RUN").iter().any(|rest| rest.contains(tool)), "{tool} in a small image");
    }
}

#[test]
fn the_image_s_command_and_health_check_are_commands_of_the_program() {
    let shipped = shipped();
    let command = words(of(&shipped, "CMD")[0]);
    assert_understood(&command.iter().map(String::as_str).collect::<Vec<_>>(), DOCKERFILE);
    let check = of(&shipped, "HEALTHCHECK")[0];
    let check = words(check.split_once("CMD ").unwrap().1);
    assert_eq!(check[0], words(of(&shipped, "ENTRYPOINT")[0])[0]);
    assert_understood(&check[1..].iter().map(String::as_str).collect::<Vec<_>>(), DOCKERFILE);
}

#[test]
fn the_image_keeps_its_state_on_the_volume_and_names_keys_that_exist() {
    let shipped = shipped();
    let variables = variables(&shipped);
    let settings: Settings = settings_with(&variables, DOCKERFILE);
    let volume = words(of(&shipped, "VOLUME")[0]).remove(0);
    assert!(settings.state.path.starts_with(&volume), "{} is not on {volume}", settings.state.path.display());
    assert!(of(&shipped, "RUN")[0].contains(&volume), "{volume} is made with the user's rights");
    let config = variables.iter().find(|(name, _)| name == "DESKFERRY_CONFIG").unwrap();
    assert_eq!(config.1, format!("{}/config/deskferry.toml", of(&shipped, "WORKDIR")[0]));
}

#[test]
fn the_image_does_not_open_its_port_by_itself() {
    // Open without a token is refused; a token in an image would be everybody's.
    let settings = settings_with(&variables(&shipped()), DOCKERFILE);
    assert!(settings.ops.listen.ip().is_loopback());
    assert_eq!(of(&shipped(), "EXPOSE"), [settings.ops.listen.port().to_string()]);
    assert!(root().join("docker-compose.yml").exists());
}
