mod bed;
mod shapes;
mod appending;
mod losses;
mod order;
mod suite;
