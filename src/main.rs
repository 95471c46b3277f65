//! The program: parses, dispatches, and ends with an exit code. Everything else is in the library.

fn main() -> std::process::ExitCode {
    verbale::cli::main()
}
