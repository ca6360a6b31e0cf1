//! From a request to the service that it wants.

use super::assets::{self, Asset};
use super::refusal::Refusal;
use super::request::{Method, Request};
use super::upgrade::{Offer, Upgrade};
use crate::limits::NAME_BYTES_MAX;

/// Services that stand on this port only where the operator wants them. A path of one that is off does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// `/raw/{room}`
    pub raw: bool,
    /// `/echo`
    pub echo: bool,
    /// Whether `/readyz` and `/metrics` stand on a port of their own, and not here.
    pub has_admin: bool,
}

/// Who serves a request.
#[derive(Debug)]
pub enum Route<'a> {
    /// A file of the page.
    Asset(&'static Asset),
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `OPTIONS *`, to be answered with 204.
    Options,
    /// `/ws`: the chat protocol.
    Ws(Offer<'a>),
    /// `/raw/{room}`: the relay of this room, a name of 1 to [`NAME_BYTES_MAX`] bytes without control characters.
    Raw(&'a str, Offer<'a>),
    /// `/echo`
    Echo(Offer<'a>),
}

/// Chooses by path first, then by method, then by upgrade.
pub fn route<'a>(request: &'a Request<'_>, endpoints: Endpoints) -> Result<Route<'a>, Refusal> {
    match &*request.path {
        "/healthz" => read(request, Route::Health),
        "/readyz" if !endpoints.has_admin => read(request, Route::Ready),
        "/metrics" if !endpoints.has_admin => read(request, Route::Metrics),
        "/ws" => offer(request).map(Route::Ws),
        "/echo" if endpoints.echo => offer(request).map(Route::Echo),
        // Only `OPTIONS` can have this path.
        "*" => Ok(Route::Options),
        path => match path.strip_prefix("/raw/") {
            Some(room) if endpoints.raw && is_room(room) => {
                offer(request).map(|offer| Route::Raw(room, offer))
            }
            Some(_) => Err(Refusal::NOT_FOUND),
            None => read(
                request,
                Route::Asset(assets::find(path).ok_or(Refusal::NOT_FOUND)?),
            ),
        },
    }
}

fn read<'a>(request: &Request<'_>, route: Route<'a>) -> Result<Route<'a>, Refusal> {
    match request.method {
        Method::Get | Method::Head => Ok(route),
        Method::Options | Method::Connect | Method::Other => Err(Refusal::METHOD),
    }
}

fn offer<'a>(request: &Request<'a>) -> Result<Offer<'a>, Refusal> {
    match (request.method, request.upgrade) {
        (Method::Get, Upgrade::WebSocket(offer)) => Ok(offer),
        (Method::Get, Upgrade::Refused(refusal)) => Err(refusal),
        (Method::Get, Upgrade::None) => Err(Refusal::UPGRADE),
        (Method::Head | Method::Options | Method::Connect | Method::Other, _) => {
            Err(Refusal::METHOD_OF_UPGRADE)
        }
    }
}

/// A room is one path segment. Slashes and dot segments could be resolved by a proxy in front, so that two paths
/// would be one room or one path two rooms.
fn is_room(room: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&room.len())
        && !room.contains(['/', '\\'])
        && room != "."
        && room != ".."
}
