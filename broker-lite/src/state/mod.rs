mod groups;
mod offsets;
mod transactions;
