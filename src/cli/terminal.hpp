#pragma once

/// What stdout and stdin are, and tables for them.

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace cachier::cli {

[[nodiscard]] bool input_is_terminal() noexcept;
[[nodiscard]] bool output_is_terminal() noexcept;

/// Asks a question on the terminal. Whether the answer is yes.
[[nodiscard]] bool confirmed(const std::string& question);

/// Whether somebody sees stderr while it is written: on a terminal that can rewrite a
/// line.
[[nodiscard]] bool shows_progress() noexcept;

/// A line of stderr that is rewritten, and is gone at the end.
class ProgressLine {
 public:
  ProgressLine() = default;
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine();

  /// Whether the last one has been there for long enough.
  [[nodiscard]] bool is_due() const noexcept;
  void show(const std::string& text);

 private:
  std::chrono::steady_clock::time_point shown_{};
};

/// Says on such a line what is going on and for how long, while this lives; where
/// nobody sees it, nothing. For what cannot tell how far it has come.
class Meanwhile {
 public:
  explicit Meanwhile(std::string what);
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;
  ~Meanwhile() = default;

 private:
  std::jthread telling_;
};

/// Columns of the terminal; 0 where stdout is none.
[[nodiscard]] std::size_t terminal_width() noexcept;

/// The text in bold, if stdout is a terminal that shows it and `NO_COLOR` does not say
/// otherwise.
[[nodiscard]] std::string bold(std::string_view text);
/// Likewise, less bright.
[[nodiscard]] std::string faint(std::string_view text);

/// Rows of cells, each column as wide as its widest cell, two blanks between them.
/// Cells are printable text. On a terminal the `flexible` column is cut so that rows
/// fit.
class Table {
 public:
  enum class Align : unsigned char { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
    bool flexible = false;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// Prints title and rows to stdout.
  void print() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace cachier::cli
