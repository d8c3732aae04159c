mod bed;
mod shapes;
