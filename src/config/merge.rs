//! One source laid over another, and which of them said what.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Parser;

use super::error::Error;
use super::layer::{self, Layer};
use super::rooms;

const PREFIX: &str = "ROOMCAST_";
const CONFIG: &str = "ROOMCAST_CONFIG";

/// Who said a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The `--config` file.
    File(PathBuf),
    /// A `ROOMCAST_` variable.
    Environment,
    /// The command line.
    Flag,
}

impl Source {
    /// Where this source says `key`, in words that lead the user there.
    fn place(&self, key: &str) -> String {
        match self {
            Source::File(path) => format!("{}: {key}", path.display()),
            Source::Environment => layer::variable(key),
            Source::Flag => layer::flag(key),
        }
    }

    fn name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Environment => "environment".to_owned(),
            Source::Flag => "command line".to_owned(),
        }
    }
}

/// All sources laid over each other.
#[derive(Debug, Default)]
pub struct Merged {
    values: toml::Table,
    sources: BTreeMap<String, Source>,
}

impl Merged {
    /// Lays what `source` says over what is there.
    pub fn lay(&mut self, layer: Layer, source: &Source) -> Result<(), Error> {
        for (key, value) in table(layer, || source.name())? {
            self.sources.insert(key.clone(), source.clone());
            self.values.insert(key, value);
        }
        Ok(())
    }

    /// Gives the settings that nobody mentioned their defaults.
    pub fn fill(&mut self, defaults: Layer) -> Result<(), Error> {
        for (key, value) in table(defaults, || "defaults".to_owned())? {
            self.values.entry(key).or_insert(value);
        }
        Ok(())
    }

    /// The values by key.
    pub fn values(&self) -> &toml::Table {
        &self.values
    }

    /// Whether anybody has set `key`, if only to its default.
    pub fn is_set(&self, key: &str) -> bool {
        self.sources.contains_key(key)
    }

    /// The value of a number, if it has one already, whatever its range.
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.values.get(key)?.as_integer()
    }

    /// A number, which must be in its range.
    pub fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Result<T, Error> {
        let value = self.integer(key).unwrap_or_default();
        let number = T::try_from(value).ok().filter(|_| range.contains(&value));
        number.ok_or_else(|| {
            let (least, most) = range.into_inner();
            self.wrong(key, format!("{value} is out of range: {least} to {most}"))
        })
    }

    /// A switch; off when nobody mentioned it.
    pub fn switch(&self, key: &str) -> bool {
        self.values
            .get(key)
            .and_then(toml::Value::as_bool)
            .unwrap_or_default()
    }

    /// A text, if there is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    /// A list of texts; empty when nobody mentioned it.
    pub fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        let values = self.values.get(key).and_then(toml::Value::as_array);
        values.into_iter().flatten().filter_map(toml::Value::as_str)
    }

    /// The error that `key` is wrong, which says where it stands.
    pub fn wrong(&self, key: &str, reason: String) -> Error {
        let place = match self.sources.get(key) {
            Some(source) => source.place(key),
            None => format!("{} (by default)", layer::flag(key)),
        };
        Error::Setting { place, reason }
    }

    /// All values as a TOML file, in the order of the help; a comment says where a value comes from. A default that means
    /// less than the same value where it is set is a comment itself.
    pub fn to_toml(&self) -> String {
        let lines = layer::keys().into_iter().filter_map(|key| self.line(&key));
        lines.chain(self.rooms()).collect()
    }

    /// The tables of rooms, which have to come last.
    fn rooms(&self) -> Option<String> {
        let rooms = self.values.get(rooms::KEY)?;
        let table = toml::Table::from_iter([(rooms::KEY.to_owned(), rooms.clone())]);
        let place = self.sources.get(rooms::KEY).map(Source::name);
        Some(format!("\n# {}\n{table}", place.unwrap_or_default()))
    }

    fn line(&self, key: &str) -> Option<String> {
        let value = self.values.get(key)?;
        Some(match self.sources.get(key) {
            Some(Source::File(path)) => format!("{key} = {value}  # {}\n", path.display()),
            Some(source @ (Source::Environment | Source::Flag)) => {
                format!("{key} = {value}  # {}\n", source.place(key))
            }
            // As a comment: to set it would be more.
            None if layer::is_for_others(key) => format!("# {key} = {value}\n"),
            None => format!("{key} = {value}\n"),
        })
    }
}

/// The variables of the process that look like ours.
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Keeps what starts with `ROOMCAST_` and is not empty.
    pub fn from(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let ours = named.filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty());
        Environment {
            variables: ours.collect(),
        }
    }

    /// The file that `ROOMCAST_CONFIG` names.
    pub fn config(&self) -> Result<Option<String>, Error> {
        self.text(CONFIG)
    }

    /// What the variables say. Each goes through the parser of its flag.
    pub fn layer(&self) -> Result<Layer, Error> {
        let mut arguments = vec!["roomcast".to_owned()];
        for key in layer::keys() {
            let name = layer::variable(&key);
            if let Some(text) = self.text(&name)? {
                let argument = format!("{}={text}", layer::flag(&key));
                // Alone at first, so that an error can name the variable.
                Layer::try_parse_from(["roomcast", &argument])
                    .map_err(|error| wrong_variable(name, &error))?;
                arguments.push(argument);
            }
        }
        Ok(Layer::try_parse_from(arguments)?)
    }

    /// Names that are no setting's. Not an error: service managers put such variables there for their own ends.
    pub fn unknown(&self) -> Vec<String> {
        let known: Vec<String> = layer::keys()
            .iter()
            .map(|key| layer::variable(key))
            .collect();
        let is_known = |name: &String| known.contains(name) || name == CONFIG;
        self.variables
            .keys()
            .filter(|name| !is_known(name))
            .cloned()
            .collect()
    }

    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match self.variables.get(name).map(|value| value.to_str()) {
            Some(Some(text)) => Ok(Some(text.to_owned())),
            Some(None) => Err(Error::Variable {
                name: name.to_owned(),
                reason: "is not UTF-8".to_owned(),
            }),
            None => Ok(None),
        }
    }
}

fn wrong_variable(name: String, error: &clap::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Error::Variable {
        name,
        reason: line.trim_start_matches("error: ").to_owned(),
    }
}

fn table(layer: Layer, name: impl Fn() -> String) -> Result<toml::Table, Error> {
    // Only a number beyond TOML's 64-bit integers fails here, and it would be out of range anyway.
    let wrong = |_| Error::Setting {
        place: name(),
        reason: "a number is too large".to_owned(),
    };
    toml::Table::try_from(layer).map_err(wrong)
}
