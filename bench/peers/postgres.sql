-- Pages of rows that change have room, so that an update touches no index. Prices are in minor units, taxes in 1/10,000.
CREATE TABLE products (
  id text PRIMARY KEY, name text, price bigint, tax_rate int, opening bigint, available bigint CHECK (available >= 0)
) WITH (fillfactor = 10);
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, request_id text NOT NULL UNIQUE, customer_id text,
  state text, reason text, total bigint, placed_at timestamptz DEFAULT now() -- HELD, then CONFIRMED or REJECTED
) WITH (fillfactor = 50);
CREATE TABLE order_lines (
  order_id bigint, line int, product_id text, quantity int, price bigint, PRIMARY KEY (order_id, line));
CREATE TABLE payments (
  order_id bigint PRIMARY KEY, method_token text, amount bigint, state text -- STARTED, then CAPTURED or DECLINED
) WITH (fillfactor = 50);
-- One row for each connection, so that none waits for another's commit. The totals are their sum.
CREATE TABLE totals (slot int PRIMARY KEY, confirmed bigint, rejected bigint, captured bigint) WITH (fillfactor = 10);

CREATE FUNCTION count_order(_confirmed int, _captured bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO totals AS t VALUES (pg_backend_pid(), _confirmed, 1 - _confirmed, _captured)
    ON CONFLICT (slot) DO UPDATE SET confirmed = t.confirmed + excluded.confirmed,
      rejected = t.rejected + excluded.rejected, captured = t.captured + excluded.captured;
END $$;

-- Accepts an order, holds its stock, records that its payment starts. The products come in order: no deadlocks. A key
-- that is there violates its index. An order that finds no stock is rejected, and kept without its lines.
CREATE FUNCTION place(_request text, _customer text, _products text[], _quantities int[], _token text)
RETURNS TABLE (id bigint, state text, reason text, total bigint) LANGUAGE plpgsql AS $$
DECLARE
  _net bigint; _rate int; _prices bigint[];
BEGIN
  state := 'HELD';
  reason := 'UNSPECIFIED';
  total := 0;
  FOR i IN 1 .. cardinality(_products) LOOP
    UPDATE products p SET available = p.available - _quantities[i]
      WHERE p.id = _products[i] AND p.available >= _quantities[i] RETURNING p.price, p.tax_rate INTO _net, _rate;
    IF NOT FOUND THEN
      FOR j IN 1 .. i - 1 LOOP
        UPDATE products p SET available = p.available + _quantities[j] WHERE p.id = _products[j];
      END LOOP;
      state := 'REJECTED';
      reason := 'OUT_OF_STOCK';
      PERFORM count_order(0, 0);
      EXIT;
    END IF;
    _prices[i] := _net;
    total := total + _quantities[i] * (_net + _net * _rate / 10000);
  END LOOP;
  INSERT INTO orders AS o (request_id, customer_id, state, reason, total)
    VALUES (_request, _customer, state, reason, total) RETURNING o.id INTO id;
  IF state = 'HELD' THEN
    INSERT INTO order_lines SELECT id, l.line, l.product_id, l.quantity, l.price
      FROM unnest(_products, _quantities, _prices) WITH ORDINALITY AS l (product_id, quantity, price, line);
    INSERT INTO payments VALUES (id, _token, total, 'STARTED');
  END IF;
  RETURN NEXT;
END $$;

-- Makes an order final by the provider's answer, once.
CREATE FUNCTION settle(_id bigint, _is_captured boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  _total bigint; _line record;
BEGIN
  UPDATE orders SET state = CASE WHEN _is_captured THEN 'CONFIRMED' ELSE 'REJECTED' END,
      reason = CASE WHEN _is_captured THEN 'UNSPECIFIED' ELSE 'PAYMENT_DECLINED' END
    WHERE id = _id AND state = 'HELD' RETURNING total INTO _total;
  IF NOT FOUND THEN RETURN; END IF;
  UPDATE payments SET state = CASE WHEN _is_captured THEN 'CAPTURED' ELSE 'DECLINED' END WHERE order_id = _id;
  PERFORM count_order(_is_captured::int, CASE WHEN _is_captured THEN _total ELSE 0 END);
  IF _is_captured THEN RETURN; END IF;
  FOR _line IN SELECT product_id, quantity FROM order_lines WHERE order_id = _id ORDER BY product_id LOOP
    UPDATE products SET available = available + _line.quantity WHERE id = _line.product_id;
  END LOOP;
END $$;

-- What is wrong with the books; no rows if nothing is.
CREATE VIEW differences AS
  SELECT 'stock of ' || p.id AS name FROM products p LEFT JOIN (
      SELECT l.product_id, sum(l.quantity) AS sold FROM order_lines l JOIN orders o ON o.id = l.order_id
        WHERE o.state <> 'REJECTED' GROUP BY 1) AS l ON l.product_id = p.id
    WHERE p.available <> p.opening - coalesce(l.sold, 0)
  UNION ALL SELECT 'payments, or orders that are not final' WHERE EXISTS (SELECT FROM orders o FULL JOIN payments p ON p.order_id = o.id
    WHERE o.reason IS DISTINCT FROM 'OUT_OF_STOCK' AND (p.amount, p.state) IS DISTINCT FROM
      (o.total, CASE o.state WHEN 'CONFIRMED' THEN 'CAPTURED' ELSE 'DECLINED' END))
  UNION ALL SELECT 'totals' WHERE EXISTS (
    SELECT coalesce(sum(confirmed), 0), coalesce(sum(rejected), 0), coalesce(sum(captured), 0) FROM totals
    EXCEPT SELECT count(*) FILTER (WHERE state = 'CONFIRMED'), count(*) FILTER (WHERE state = 'REJECTED'),
      coalesce(sum(total) FILTER (WHERE state = 'CONFIRMED'), 0) FROM orders);
