//! Parts that are really broken, and what becomes of sign-ins and sessions meanwhile and afterwards.

mod cluster;
mod cut;
mod disk;
mod killed;
mod lock;
mod microsoft;
mod postgres;
mod proxy;
mod storm;
