/// `cachier`: what is cached, for people and programs (docs/cli.md).

#include "cli/commands.hpp"
#include "cli/text.hpp"

#include <cachier/error.hpp>

#include <CLI/CLI.hpp>

#include <csignal>
#include <iostream>
#include <new>
#include <string>

namespace cachier::cli {
namespace {

constexpr const char* kFooter =
    "A FUNCTION is the name that `cachier ls` shows, its end from a dot on, or a\n"
    "pattern with * and ?. Exit status: 0 done, 1 failed, 2 wrong usage.\n";

void add_directory(CLI::App* command, std::string& directory) {
  command
      ->add_option("--dir", directory,
                   "Cache directory ($XDG_CACHE_HOME/cachier, else ~/.cachier)")
      ->type_name("DIRECTORY");
}

void add_json(CLI::App* command, bool& json) {
  command->add_flag("--json", json, "One JSON object a line, for programs");
}

ListOptions::Sort sort_by(const std::string& word) {
  using Sort = ListOptions::Sort;
  if (word == "age") return Sort::age;
  if (word == "size") return Sort::size;
  if (word == "name") return Sort::name;
  throw CLI::ValidationError("--sort", "'" + word + "' is not age, size or name");
}

Duration duration_of(const std::string& word) {
  if (const auto duration = parse_duration(word)) return *duration;
  throw CLI::ValidationError("--older-than",
                             "'" + word + "' is not like 90s, 15m, 12h, 7d or 2w");
}

/// The commands and where their words go.
class Program {
 public:
  Program() {
    app_.set_version_flag("--version", "cachier " CACHIER_VERSION);
    app_.require_subcommand(0, 1);
    app_.footer(kFooter);
    app_.get_formatter()->column_width(32);
    add_list();
    add_show();
    add_clear();
    add_stats();
    add_verify();
    add_repair();
    backends_ = app_.add_subcommand("backends", "Where entries can live");
    add_json(backends_, backends_json_);
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
      return app_.exit(asked);
    } catch (const CLI::ParseError& error) {
      if (const std::string word = argc > 1 ? argv[1] : "";
          !word.empty() && !word.starts_with('-') &&
          app_.get_subcommands(
                  [&](const CLI::App* command) { return command->get_name() == word; })
              .empty()) {
        std::cerr << "cachier: there is no command '" << printable(word)
                  << "'\n  fix:   see `cachier --help`\n";
        return kUsage;
      }
      std::cerr << "cachier: " << printable(error.what())
                << "\n  fix:   see `cachier --help`\n";
      return kUsage;
    }
    if (clear_options_.claims && clear_options_.older_than) {
      std::cerr << "cachier: --claims and --older-than do not go together\n"
                   "  cause: claims have no age\n"
                   "  fix:   leave one of them out\n";
      return kUsage;
    }
    if (*list_) return list(list_options_);
    if (*show_) return show(show_options_);
    if (*clear_) return clear(clear_options_);
    if (*stats_) return stats(stats_options_);
    if (*verify_) return verify(verify_options_);
    if (*repair_) return repair(repair_options_);
    if (*backends_) return list_backends(backends_json_);
    std::cerr << app_.help();
    return kUsage;
  }

 private:
  void add_list() {
    list_ = app_.add_subcommand("ls", "The functions in a cache, or their entries");
    list_->add_option("FUNCTION", list_options_.function,
                      "Only its entries, each with the call it belongs to");
    list_->add_flag("-e,--entries", list_options_.entries,
                    "The entries of all functions");
    list_
        ->add_option_function<std::string>(
            "--sort",
            [this](const std::string& by) { list_options_.sort = sort_by(by); },
            "Newest or largest first, or by name")
        ->type_name("age|size|name");
    add_directory(list_, list_options_.directory);
    add_json(list_, list_options_.json);
  }

  void add_show() {
    show_ = app_.add_subcommand("show", "One entry: its call, its marks, its value");
    show_
        ->add_option("ENTRY", show_options_.what,
                     "A digest or its beginning, or a function with one entry")
        ->required();
    show_->add_flag("--full", show_options_.full, "All of the value, however long");
    show_->add_flag("--raw", show_options_.raw, "Nothing but the stored bytes");
    add_directory(show_, show_options_.directory);
    add_json(show_, show_options_.json);
  }

  void add_clear() {
    clear_ = app_.add_subcommand("clear", "Removes entries");
    clear_->add_option("FUNCTION", clear_options_.function,
                       "Only of this function; else of all");
    clear_
        ->add_option_function<std::string>(
            "--older-than",
            [this](const std::string& word) {
              clear_options_.older_than = duration_of(word);
            },
            "Only what was stored longer ago: 90s, 15m, 12h, 7d, 2w")
        ->type_name("TIME");
    clear_->add_flag("--claims", clear_options_.claims,
                     "No entries: let others compute what is being computed");
    clear_->add_flag("-y,--yes", clear_options_.yes, "Do not ask");
    add_directory(clear_, clear_options_.directory);
  }

  void add_stats() {
    stats_ = app_.add_subcommand("stats", "How much there is, and where");
    stats_->add_option("FUNCTION", stats_options_.function, "Only of this function");
    add_directory(stats_, stats_options_.directory);
    add_json(stats_, stats_options_.json);
  }

  void add_verify() {
    verify_ =
        app_.add_subcommand("verify", "Reads everything, and says what is damaged");
    add_directory(verify_, verify_options_.directory);
    add_json(verify_, verify_options_.json);
  }

  void add_repair() {
    repair_ =
        app_.add_subcommand("repair", "Removes what is damaged, and saves what is not");
    repair_->add_flag("-n,--dry-run", repair_options_.dry_run,
                      "Only say what would be done");
    repair_->add_flag("--discard", repair_options_.discard,
                      "Then throw away databases that were set aside");
    repair_->add_flag("-y,--yes", repair_options_.yes, "Do not ask");
    add_directory(repair_, repair_options_.directory);
    add_json(repair_, repair_options_.json);
  }

  CLI::App app_{"Caches of function results: what is in them, and out with it.",
                "cachier"};
  CLI::App* list_ = nullptr;
  CLI::App* show_ = nullptr;
  CLI::App* clear_ = nullptr;
  CLI::App* stats_ = nullptr;
  CLI::App* verify_ = nullptr;
  CLI::App* repair_ = nullptr;
  CLI::App* backends_ = nullptr;
  ListOptions list_options_;
  ShowOptions show_options_;
  ClearOptions clear_options_;
  StatsOptions stats_options_;
  VerifyOptions verify_options_;
  RepairOptions repair_options_;
  bool backends_json_ = false;
};

int guarded(int argc, char** argv) {
  try {
    return Program().run(argc, argv);
  } catch (const Exception& error) {
    std::cout.flush();
    std::cerr << "cachier: " << error.what() << '\n';
  } catch (const std::bad_alloc&) {
    std::cerr << "cachier: out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "cachier: " << printable(error.what()) << '\n';
  }
  return kFailed;
}

}  // namespace
}  // namespace cachier::cli

int main(int argc, char** argv) {
  using namespace cachier::cli;
  // Whoever reads our output may stop (`| head`): then we do too, like any tool, also
  // where whoever started us ignores the signal.
  std::signal(SIGPIPE, SIG_DFL);
  std::ios::sync_with_stdio(false);
  const int status = guarded(argc, argv);
  std::cout.flush();
  if (std::cout.good()) return status;
  std::cerr << "cachier: cannot write to stdout\n";
  return kFailed;
}
