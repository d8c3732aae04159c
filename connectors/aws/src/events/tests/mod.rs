mod bed;
mod shapes;
mod suite;
